"""Benches of egress, and the corpus that they and the tests measure its scanner on."""
