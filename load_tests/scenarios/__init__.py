"""What people do under load, how many of them, and what is broken meanwhile: files in TOML, and the actions they name."""
