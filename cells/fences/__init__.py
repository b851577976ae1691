"""The directory held against the fences of a cell's shards: differences by name, repaired where raising a fence repairs them."""
