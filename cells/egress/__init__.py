"""Egress: what crosses a border crosses it stripped, on ground, with proof."""
