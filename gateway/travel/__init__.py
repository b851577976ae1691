"""A subject away from home, and services that act for one: what the edge does beside serving people at home."""
