"""What Prometheus hears of a process's log."""

from prometheus_client import Gauge

ENTRIES = Gauge("domicile_ledger_entries", "Entries that are durable in this process's log")
WRITABLE = Gauge("domicile_ledger_writable", "1 while this process's log is open and taking in its outboxes")
SOURCES_AWAY = Gauge("domicile_ledger_sources_away", "Outboxes that did not answer when the log asked last")
