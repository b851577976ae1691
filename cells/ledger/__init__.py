"""The cell's log: what its shards' outboxes hold, taken in and served."""
