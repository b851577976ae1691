"""Metrics of the edge. Labels are closed sets: codes, and the cells and services of policy."""

from prometheus_client import Counter, Gauge, Histogram

from foundation.counting import Counts, Spreads
from foundation.metrics import LATENCY_BUCKETS

VERDICTS = Counts("domicile_gateway_verdicts", "Verdicts on requests", ["code"])
SERVED = Spreads(
    "domicile_gateway_upstream_seconds",
    "From the verdict to the end of the answer",
    ["cell", "service"],
    bounds=LATENCY_BUCKETS,
)
FAULTS = Counter("domicile_gateway_upstream_faults_total", "Exchanges that broke", ["fault"])
RETRIES = Counter("domicile_gateway_retries_total", "Requests tried once more", ["reason"])
CONNECTIONS = Gauge("domicile_gateway_connections", "Connections to services", ["upstream", "state"])
UNDER_WAY = Gauge("domicile_gateway_exchanges", "Exchanges under way", ["cell", "service"])
BULKHEAD_REFUSED = Counter(
    "domicile_gateway_bulkhead_refused_total", "Requests beyond what may be under way at once", ["cell", "service"]
)
BREAKER = Gauge("domicile_gateway_breaker", "0 closed, 1 half-open (a probe decides), 2 open", ["upstream"])
BREAKER_OPENED = Counter("domicile_gateway_breaker_opened_total", "Times that a breaker opened", ["upstream"])
CACHED = Counts("domicile_gateway_cache", "Look-ups without waiting", ["cache", "outcome"])
RECORDS_PENDING = Gauge("domicile_gateway_records_pending", "Records that wait for the cell service")
RECORDS_LOST = Counter(
    "domicile_gateway_records_lost_total", "Records for which there was no room, or that no cell service takes"
)
RECORDS_LEFT_OUT = Counter("domicile_gateway_records_left_out_total", "Bad hops beyond the room that is left for them")
IDENTITIES = Gauge("domicile_gateway_identities", "Verified tokens remembered")
RULES_AT = Gauge("domicile_gateway_rules_seq", "Feed position of the rules that hold here")
WEBSOCKETS = Gauge("domicile_gateway_websockets", "Websockets open, or about to be")
WEBSOCKETS_ENDED = Counter("domicile_gateway_websockets_ended_total", "Websockets that were open", ["reason"])
CARRIED = Histogram(
    "domicile_gateway_hop_seconds", "Requests carried to their home region", ["region"], buckets=LATENCY_BUCKETS
)
HOPS_REFUSED = Counter("domicile_gateway_hops_refused_total", "Hops of others that were not taken", ["reason"])
