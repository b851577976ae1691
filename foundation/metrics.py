"""Prometheus metrics that every service shares. Labels are closed sets (route patterns, codes), never ids or client input."""

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, generate_latest

from foundation.counting import Count, Counts, Spread, Spreads

LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS = Counts("domicile_requests", "Requests answered", ["route", "method", "status"])
LATENCY = Spreads("domicile_request_seconds", "Time to the end of the answer", ["route"], bounds=LATENCY_BUCKETS)
REFUSALS = Counter("domicile_refusals_total", "Refusals by stable code", ["code"])
READY = Gauge("domicile_ready", "1 when the process would take traffic")


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
"""RFC 9110 section 9 and RFC 5789. What else a client calls a method is counted as `other`, under one name."""


class Tallies:
    """Answers counted and timed. The counts of a route, method and status are looked up once."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], tuple[Count, Spread]] = {}

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        if method not in METHODS:
            method = "other"
        known = self._counts.get((route, method, status))
        if known is None:
            found = REQUESTS.labels(route, method, str(status)), LATENCY.labels(route)
            known = self._counts[route, method, status] = found
        known[0].value += 1
        known[1].observe(seconds)


def exposition() -> tuple[bytes, str]:
    """(body, content type) of `/metrics`."""
    return generate_latest(), CONTENT_TYPE_LATEST
