"""What tests stand on: real servers and whole services for them, second implementations in memory, samples."""
