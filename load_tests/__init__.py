"""The load-testing harness and benchmarks against peers."""
