"""Egress: what leaves the cell leaves it as its contract says for that destination and purpose, on ground, with a manifest."""
