"""What stands in every cell's Postgres at the end, beside what was promised while the load ran."""
