"""The SQL door: Postgres' wire protocol from engineers' own clients to a shard, each statement on the record before it runs."""
