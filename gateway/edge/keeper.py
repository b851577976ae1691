"""Puts a new book on the desk whenever other rules have come to hold, and says when the rules may not be decided by."""

from directory.registry.client import HeldRegistry
from directory.rules.client import RulesFollower
from foundation.clock import Clock
from foundation.mute import Secret
from foundation.problems import Code, Problem
from foundation.words import FeedSeq, RegionId
from gateway.edge.book import Book
from gateway.edge.desk import Desk
from gateway.edge.observed import RULES_AT
from routing_rules.rules import Rules

STALE_S_BEFORE_RULES = 60.0


class Keeper:
    """`root`: (kid, key) of the region's current root key."""

    def __init__(
        self,
        rules: RulesFollower,
        desk: Desk,
        *,
        region: RegionId,
        root: tuple[str, Secret[bytes]],
        clock: Clock,
        registry: HeldRegistry | None = None,
    ) -> None:
        self._rules = rules
        self._desk = desk
        self._region = region
        self._root = root
        self._clock = clock
        self._registry = registry or HeldRegistry()
        self.stale_s_max = STALE_S_BEFORE_RULES
        """Policy's, once there is one."""
        rules.on_rules.append(self._take)

    def _take(self, rules: Rules, seq: FeedSeq) -> None:
        self.stale_s_max = rules.policy.product.stale_s_max
        self._desk.hold(
            Book(rules, seq, region=self._region, root=self._root, clock=self._clock, registry=self._registry)
        )
        RULES_AT.set(seq)

    def problem(self) -> Problem | None:
        """Why the rules may not be decided by: there are none, or newer ones could not be had for too long."""
        if self._desk.book is None:
            return Problem(code=Code.NOT_READY, detail="no rules have been received yet", retry_after_s=1)
        behind_s = self._rules.behind_s()
        if behind_s and behind_s > self.stale_s_max:
            return Problem(code=Code.NOT_READY, detail="newer rules could not be had", retry_after_s=1)
        return None
