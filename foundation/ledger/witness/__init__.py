"""Witnesses: who cosigns what a log has signed, so that a log which shows two histories is found out by more than its own word."""
