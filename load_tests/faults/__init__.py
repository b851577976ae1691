"""What is broken on purpose while the load runs, when, and that it is mended at the end whatever happens."""
