"""Placing many existing users at once: jobs of numbered batches, one feed event for each, fences raised in parts by the cells."""
