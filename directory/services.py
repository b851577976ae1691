"""What the directory's routes stand on, as one value made at the root."""

from dataclasses import dataclass

from directory.aliases.claims import Claims
from directory.feed.commits import Commits
from directory.locks.bell import LockBell
from directory.placement.changes import Changes
from directory.registry.live import LiveRegistry
from directory.rules.live import LiveRules
from foundation.clock import Clock
from foundation.ledger.keeping import Keeping
from foundation.postgres import Pool
from foundation.server import Drain


@dataclass(frozen=True, kw_only=True)
class Services:
    pool: Pool
    clock: Clock
    commits: Commits
    locks: LockBell
    changes: Changes
    claims: Claims
    rules: LiveRules
    registry: LiveRegistry
    drain: Drain
    ledger: Keeping | None = None
    """The log, None where this process keeps none."""
