"""Locust's half: users that play the actions. Runs in processes of its own, since gevent patches the standard library there."""
