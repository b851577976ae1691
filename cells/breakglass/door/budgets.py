"""What grants may still show at the door, over all their sessions, and how many of these there are at once."""

from collections.abc import Callable
from dataclasses import dataclass

from cells.breakglass.door import endings
from cells.breakglass.door.answers import Budget
from cells.breakglass.door.frames import Malformed
from cells.breakglass.door.metrics import SESSIONS
from cells.breakglass.door.ports import Session, Spent
from cells.breakglass.door.settings import DoorSettings
from cells.breakglass.words import APART_S_MAX


@dataclass(slots=True)
class _Spending:
    budget: Budget
    sessions: int
    until: float


class Budgets:
    """One door's. What a grant has had is forgotten once no certificate of it opens anything any more."""

    def __init__(self, settings: DoorSettings) -> None:
        self._settings = settings
        self._grants: dict[str, _Spending] = {}

    def enter(self, session: Session, spent: Spent, at: float) -> tuple[Budget, Callable[[], None]]:
        """What the grant of a session that begins may still show, and what is called once it has left. `spent`: what the grant had before
        this process. Raises Malformed where nobody knows, or too many sessions are open."""
        if not spent.told:
            raise Malformed(endings.UNTOLD)
        for grant in [
            one for one, held in self._grants.items() if held.until + APART_S_MAX <= at and not held.sessions
        ]:
            del self._grants[grant]
        most = self._settings
        left_over = Budget(max(0, most.rows_max - spent.rows), max(0, most.bytes_max - spent.bytes))
        held = self._grants.setdefault(session.grant, _Spending(left_over, 0, session.expires_at))
        if (
            held.sessions >= most.grant_sessions_max
            or sum(one.sessions for one in self._grants.values()) >= most.sessions_max
        ):
            raise Malformed(endings.TOO_MANY)
        held.sessions += 1
        held.until = max(held.until, session.expires_at)
        SESSIONS.inc()

        def left() -> None:
            held.sessions -= 1
            SESSIONS.dec()

        return held.budget, left
