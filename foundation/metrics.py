"""Prometheus metrics that every service shares. Labels are closed sets (route patterns, codes), never ids or client input."""

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS = Counter("domicile_requests_total", "Requests answered", ["route", "method", "status"])
LATENCY = Histogram("domicile_request_seconds", "Time to the end of the answer", ["route"], buckets=LATENCY_BUCKETS)
REFUSALS = Counter("domicile_refusals_total", "Refusals by stable code", ["code"])
READY = Gauge("domicile_ready", "1 when the process would take traffic")


class Tallies:
    """Answers counted and timed. A label set's children are looked up once: prometheus_client takes a lock for each look-up."""

    def __init__(self) -> None:
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._latencies: dict[str, Histogram] = {}

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        counted = self._counters.get((route, method, status))
        if counted is None:
            counted = self._counters[route, method, status] = REQUESTS.labels(route, method, status)
        timed = self._latencies.get(route)
        if timed is None:
            timed = self._latencies[route] = LATENCY.labels(route)
        counted.inc()
        timed.observe(seconds)


def exposition() -> tuple[bytes, str]:
    """(body, content type) of `/metrics`."""
    return generate_latest(), CONTENT_TYPE_LATEST
