"""Whether a request is one too many: by address before anybody is identified, by subject or acting service after. Never waits.

A request that another region carried here counts by address where it came in, and by subject in both regions. A service that acts for
somebody counts for itself, not for the subject: nobody uses up what is another's. Whoever has no home yet counts by the lookup key.
"""

import math

from directory.placement.core import Placement
from foundation import logs
from foundation.clock import Clock
from foundation.problems import Code, Problem
from foundation.words import SubjectId
from gateway.edge.familiar import Came
from gateway.edge.headers import RequestFields
from gateway.edge.limits.callers import Callers
from gateway.edge.limits.observed import LIMITED, NAMES
from gateway.edge.limits.table import Table
from gateway.edge.outcome import Gathered
from gateway.identity.actors import Actor
from gateway.identity.identity import Identity

log = logs.get(__name__)

QUIET_MS = 60_000.0
"""At most one log line a name in this time."""
SUBJECT, ADDRESS, ACTOR = "subject", "address", "actor"
ADDRESS_PASSED, ALL_PASSED = 1, 2


class Gate:
    """One per gateway. A limit that is None is not kept."""

    def __init__(
        self, callers: Callers, clock: Clock, *, subject: Table | None, address: Table | None, actor: Table | None
    ) -> None:
        self._callers = callers
        self._clock = clock
        self._subject = subject
        self._address = address
        self._actor = actor

    def by_address(self, peer: str, fields: RequestFields) -> Problem | None:
        """Before a token is verified. None: go on."""
        if self._address is None or fields.hop is not None or fields.counted >= ADDRESS_PASSED:
            return None
        return self._over(self._address, self._callers.of(peer, fields.forwarded_for), None, fields.over_ms)

    def by_person(self, fields: RequestFields, gathered: Gathered) -> Problem | None:
        """Once it is known who asks, before the verdict. None: go on."""
        return None if fields.counted >= ALL_PASSED else self._over(*self._asker(gathered), fields.over_ms)

    def passes(self, peer: str, one: Came, subject: SubjectId) -> bool:
        """Both, for a subject's own request that nobody carried here and of which all is known at once. What of it is counted here is not
        counted again by the two above; where it does not pass, they say so."""
        if self._address is None and self._subject is None:
            one.counted = ALL_PASSED
            return True
        now_ms = self._clock.monotonic_s() * 1_000
        if self._address is not None:
            address = self._callers.of(peer, one.forwarded_for)
            if address is not None and (over_ms := self._address.take(address, now_ms)):
                one.over_ms = over_ms
                return False
        one.counted = ADDRESS_PASSED
        if self._subject is not None and (over_ms := self._subject.take(subject, now_ms)):
            one.over_ms = over_ms
            return False
        one.counted = ALL_PASSED
        return True

    def _asker(self, gathered: Gathered) -> tuple[Table | None, str | None, str | None]:
        """By which limit a request counts for whom, and the field of a log under which that may stand."""
        if isinstance(gathered.acting, Actor):
            return self._actor, gathered.acting.id, "actor"
        if isinstance(gathered.home, Placement):
            return self._subject, gathered.home.subject_id, "subject_id"
        return self._subject, gathered.who.login[0] if isinstance(gathered.who, Identity) else None, None

    def _over(self, table: Table | None, name: str | None, field: str | None, over_ms: float) -> Problem | None:
        """`over_ms`: what the table said of it already, if it did."""
        if table is None or name is None:
            return None
        now_ms = self._clock.monotonic_s() * 1_000
        wait_ms = over_ms or table.take(name, now_ms)
        if not wait_ms:
            return None
        LIMITED.labels(table.kind).inc()
        if table.speaks(name, now_ms, every_ms=QUIET_MS):
            log.info("limited", kind=table.kind, **({field: name} if field else {}))
        return Problem(
            code=Code.RATE_LIMITED,
            detail=f"too many requests of one {table.kind}",
            retry_after_s=math.ceil(wait_ms / 1_000),
        )

    def observe(self) -> None:
        for table in (self._subject, self._address, self._actor):
            if table is not None:
                NAMES.labels(table.kind).set(len(table))
