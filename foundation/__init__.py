"""What every service stands on: a closed list of small modules (docs/decisions/0001)."""
