"""Metrics of the SQL door. Those of each statement are counted without a lock."""

from prometheus_client import Counter, Gauge

from foundation.counting import Counts, Spreads
from foundation.metrics import LATENCY_BUCKETS

SESSIONS = Gauge("domicile_door_sessions", "Sessions that are open")
STATEMENTS = Counts("domicile_door_statements", "Statements that were recorded and let through", ["kind"])
REFUSED = Counter("domicile_door_refused_total", "Connections that did not become a session, by SQLSTATE", ["code"])
ENDED = Counter("domicile_door_ended_total", "Sessions that ended, by why", ["why"])
ROWS = Counts("domicile_door_rows", "Rows that sessions were shown", []).labels()
RECORDING = Spreads(
    "domicile_door_recording_seconds",
    "From a statement's arrival to its standing on the record",
    [],
    bounds=LATENCY_BUCKETS,
).labels()
