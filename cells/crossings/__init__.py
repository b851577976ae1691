"""Crossings at the cell: booked durably before anything is forwarded, and shown to operators, subject by subject."""
