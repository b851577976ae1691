"""One region: the only place where personal data lives."""
