"""Figures of the directory's clients."""

from prometheus_client import Counter, Gauge

LOOKUPS = Counter(
    "domicile_directory_lookups_total", "Lookups by the level that answered", ["level", "answer"]
)  # level: table, valkey, directory, none; answer: found, absent, unknown
REFRESHES = Counter("domicile_directory_refreshes_total", "Questions past all caches, after a stale epoch")
OVERTAKEN = Counter("domicile_directory_overtaken_total", "Answers dropped because an event was faster")
UNKNOWN = Counter("domicile_directory_unknown_total", "Lookups refused", ["reason"])
ENTRIES = Gauge("domicile_directory_entries", "Subjects held in this process")
EVICTIONS = Gauge("domicile_directory_evictions", "Subjects given up for lack of room since the start")
CIRCUIT = Gauge("domicile_circuit_open", "1 while a neighbour is not asked", ["upstream"])
SECOND_LEVEL_BAD = Counter("domicile_second_level_bad_total", "Second-level values that do not hold", ["reason"])
SECOND_LEVEL_FILLS = Counter("domicile_second_level_fills_total", "Second-level fills by outcome", ["outcome"])
SECOND_LEVEL_POSITION = Gauge("domicile_second_level_position", "Last event known to be carried into the second level")
SECOND_LEVEL_RESETS = Counter("domicile_second_level_resets_total", "New generations of second-level names", ["reason"])
