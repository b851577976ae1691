"""What Prometheus hears of a process's log."""

from prometheus_client import Counter, Gauge

ENTRIES = Gauge("domicile_ledger_entries", "Entries that are durable in this process's log")
WRITABLE = Gauge("domicile_ledger_writable", "1 while this process's log is open and taking in its outboxes")
SOURCES_AWAY = Gauge("domicile_ledger_sources_away", "Outboxes that did not answer when the log asked last")
EXPORTED = Gauge("domicile_ledger_exported_entries", "Entries that a sink has, by its name in the settings", ["sink"])
EXPORT_BEHIND = Gauge("domicile_ledger_export_behind_entries", "Signed entries that a sink does not have yet", ["sink"])
EXPORT_FAILURES = Counter("domicile_ledger_export_failures_total", "Batches that a sink did not take", ["sink"])
ERASURES_WAITING = Gauge("domicile_ledger_erasures_waiting", "Erasures by subject that are not finished")
