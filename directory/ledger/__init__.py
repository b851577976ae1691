"""The directory's log: what its outbox holds, taken in and served."""
