"""What an engineer's session may see of a shard, held by Postgres: one role, views of masked rows, whose session it is."""
