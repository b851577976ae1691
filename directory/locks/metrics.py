"""Figures of locks; labels are closed sets."""

from prometheus_client import Counter, Gauge

TOLD = Counter("domicile_directory_locks_told_total", "Tellings of locks by what became of them", ["verdict"])
WAITERS = Gauge("domicile_directory_lock_waiters", "Polls that wait for locks")
