"""The embedded stack: every server from wheels, on loopback, under one supervisor; state in `.domicile/`."""
