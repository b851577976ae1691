"""Metrics of locks between cells."""

from prometheus_client import Gauge

AGE = Gauge("domicile_access_locks_age_seconds", "Seconds since other cells' locks were known to be all that stand")
ELSEWHERE = Gauge("domicile_access_locks_elsewhere", "Locks that stand in other cells, as heard last")
UNTOLD = Gauge("domicile_access_locks_untold_seconds", "How long a lock or lifting of this cell waits to be told")
KEPT = Gauge("domicile_access_locks_kept", "Locks of a history that this cell has lost, standing until it lifts them")
