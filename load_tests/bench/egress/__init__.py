"""Benches of egress."""
