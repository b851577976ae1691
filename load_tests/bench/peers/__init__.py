"""The proxied path beside other proxies on the same machine: `python -m load_tests.bench.peers` (`make bench-peers` installs them)."""
