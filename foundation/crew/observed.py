"""Metrics of a crew's parent; those of its processes are theirs."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

_REGISTRY = CollectorRegistry()
RESTARTS = Counter(
    "domicile_worker_restarts", "Worker processes that died and were started again", ["worker"], registry=_REGISTRY
)
SERVING = Gauge("domicile_workers_serving", "Worker processes that listen on the port", registry=_REGISTRY)


def exposition() -> str:
    return generate_latest(_REGISTRY).decode()
