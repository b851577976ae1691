"""What is run through the SQL door, on the record: before it runs, and what came of it."""
