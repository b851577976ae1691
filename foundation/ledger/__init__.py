"""Record keeping: what must not be forgotten goes through the port in `foundation.ledger.port`."""
