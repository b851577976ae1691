"""The directory's own metrics; labels are closed sets."""

from prometheus_client import Counter, Gauge

FEED_HEAD = Gauge("domicile_directory_feed_head", "Newest committed feed number that this process has seen")
FEED_WAITERS = Gauge("domicile_directory_feed_waiters", "Feed long-polls waiting")
CHANGES = Counter("domicile_directory_changes_total", "Committed changes of placements", ["action"])
REPLAYS = Counter("domicile_directory_idempotent_replays_total", "Placements answered from an earlier Idempotency-Key")
FEED_FLOOR = Gauge("domicile_directory_feed_floor", "Events up to this one have been pruned")
FEED_PRUNED = Counter("domicile_directory_feed_pruned_total", "Feed events deleted")
