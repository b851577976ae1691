"""Operators' sign-ins, as a service sees them: the first time that a token of one is shown is recorded, before anything is done for it."""

from foundation.clock import Clock
from foundation.http import Caller
from foundation.ledger.port import Event, Kind, RecordEvents

EVENT_PREFIX = "sign_in:"
"""What ids of these events begin with. The token's digest follows, so that several processes record one token once."""
KNOWN_MAX = 1_024
_ACTORS = "operator:"
_ROLE = "operator"


class SignIns:
    """For `foundation.http.ServiceAuth`, which asks after each token that it has verified, now and then again."""

    def __init__(self, record: RecordEvents, clock: Clock, *, service: str) -> None:
        """`service`: where they sign in, as `directory` or `cell:eu-de`."""
        self._record = record
        self._clock = clock
        self._service = service
        self._known: dict[str, None] = {}

    async def __call__(self, caller: Caller, digest: str, expires_s: float) -> None:
        """`digest`: SHA-256 of the token. Raises ProblemError where it cannot be recorded: then nothing is done for the caller."""
        if not (caller.actor.startswith(_ACTORS) or _ROLE in caller.roles) or digest in self._known:
            return
        details = {"service": self._service, "roles": sorted(caller.roles), "expires": expires_s}
        event = Event(
            id=f"{EVENT_PREFIX}{digest}",
            at=self._clock.unix_s(),
            kind=Kind.SIGN_IN,
            actor=caller.actor,
            details=details,
        )
        await self._record([event])
        while len(self._known) >= KNOWN_MAX:
            self._known.pop(next(iter(self._known)))
        self._known[digest] = None
