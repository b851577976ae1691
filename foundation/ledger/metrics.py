"""What Prometheus hears of a process's log."""

from prometheus_client import Gauge

ENTRIES = Gauge("domicile_ledger_entries", "Entries that are durable in this process's log")
WRITABLE = Gauge("domicile_ledger_writable", "1 while this process's log is open and taking in its outboxes")
