"""HTTP/1.1 towards the services of a cell: connections, pools, one exchange at a time. Knows nothing of ASGI."""
