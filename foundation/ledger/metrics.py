"""What Prometheus hears of a process's log."""

from prometheus_client import Counter, Gauge

ENTRIES = Gauge("domicile_ledger_entries", "Entries that are durable in this process's log")
WRITABLE = Gauge("domicile_ledger_writable", "1 while this process's log is open and taking in its outboxes")
SOURCES_AWAY = Gauge("domicile_ledger_sources_away", "Outboxes that did not answer when the log asked last")
WITNESS_UP = Gauge("domicile_ledger_witness_up", "1 while a witness's last answer was a cosignature", ["witness"])
WITNESS_FORGOT = Counter(
    "domicile_ledger_witness_forgot_total", "Times that a witness knew less than it had cosigned", ["witness"]
)
QUORUM_ENTRIES = Gauge(
    "domicile_ledger_quorum_entries", "Entries under a checkpoint that a quorum has cosigned", ["quorum"]
)
QUORUM_AGE = Gauge(
    "domicile_ledger_quorum_age_seconds", "How long the oldest signed entry has waited for a quorum", ["quorum"]
)
QUORUM_OVERDUE = Gauge(
    "domicile_ledger_quorum_overdue", "1 while an entry waits longer than is stated for a quorum", ["quorum"]
)
EXPORTED = Gauge("domicile_ledger_exported_entries", "Entries that a sink has, by its name in the settings", ["sink"])
EXPORT_BEHIND = Gauge("domicile_ledger_export_behind_entries", "Signed entries that a sink does not have yet", ["sink"])
EXPORT_FAILURES = Counter("domicile_ledger_export_failures_total", "Batches that a sink did not take", ["sink"])
ERASURES_WAITING = Gauge("domicile_ledger_erasures_waiting", "Erasures by subject that are not finished")
