"""A table's schema over its life: what the catalogue says, whether it fits its contract, what a contract for it is, what a change opens."""
