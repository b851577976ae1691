"""Aliases of this cell's people: claimed at the directory, sealed here, settled after faults, known under each new blinding key."""
