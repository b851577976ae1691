"""Metrics of the limits. Labels are closed sets."""

from prometheus_client import Counter, Gauge

LIMITED = Counter("domicile_gateway_limited_total", "Requests refused for their number", ["limit"])
NAMES = Gauge(
    "domicile_gateway_limit_names", "Subjects, addresses and acting services whose requests are counted", ["limit"]
)
LEASES = Counter("domicile_gateway_limit_leases_total", "Leases asked of the region's budgets", ["outcome"])
ALONE = Gauge(
    "domicile_gateway_limits_alone",
    "1 when the last lease could not be asked for: limits are kept by each process alone",
)
