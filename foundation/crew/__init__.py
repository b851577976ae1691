"""One port, several processes: a parent that starts, watches, renews and ends them. They share nothing but the port (SO_REUSEPORT)."""
