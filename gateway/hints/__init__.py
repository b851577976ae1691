"""Sign-in hints: where somebody may sign in, told alike of members and strangers."""
