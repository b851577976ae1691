"""Shards: the Postgres databases of a cell, the fence in each, and the live views over tables under contracts."""
