"""The directory service's settings (docs/architecture.md, "Settings")."""

import msgspec

from directory.feed.pruning import Keep
from foundation.ledger.settings import LedgerSettings
from foundation.tls import Tls
from foundation.tokens import Issuer


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`dsn_env` names the environment variable with the DSN of the database's owner. Waits are in seconds. `feed_keep_s`, `feed_keep_max`
    and `rules_keep_max`: how far back the feed and published rules are kept (`directory.feed.pruning.Keep`). `ledger`: without it this
    process keeps no log; of several over one database one keeps it."""

    host: str
    port: int
    dsn_env: str
    service_issuers: list[Issuer]
    pool_size_max: int = 10
    start_s_max: float = 60.0
    drain_s: float = 0.0
    tls: Tls | None = None
    """Of its own listener. Its callers prove themselves by their tokens: `authorities` are for a mesh that shows certificates for them."""
    feed_keep_s: float = Keep().feed_s
    feed_keep_max: int = Keep().feed_max
    rules_keep_max: int = Keep().rules_max
    ledger: LedgerSettings | None = None
