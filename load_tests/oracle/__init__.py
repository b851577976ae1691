"""What every answer must be, and what breaks a promise. Pure: no I/O, no clock."""
