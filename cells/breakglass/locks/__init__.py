"""Locks between cells: what this one tells of its own, and what it has heard of others' (docs/decisions/0019-break-glass.md)."""
