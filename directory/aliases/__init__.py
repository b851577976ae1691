"""Aliases: identifiers claimed for a person under a lease, confirmed or given back; and their keys under each blinding key."""
