"""Arrivals by the clock: a request is sent when it is due, whatever became of those before, and its latency counts from then."""
