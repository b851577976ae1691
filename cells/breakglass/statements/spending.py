"""What grants take up in the ledger: the bytes of the details of their statements' entries, and of those that say what came of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from cells.breakglass.door.ports import Session, Spent
from cells.breakglass.words import APART_S_MAX
from foundation.ledger.port import Spelled


def size_of(event: Spelled) -> int:
    return len(event.details)


@dataclass(slots=True)
class _Taken:
    recorded: int
    until: float


class Spending:
    """By grant, while a session under it may begin: its certificates may end at different times."""

    def __init__(self, recorded_bytes_max: int) -> None:
        self._most = recorded_bytes_max
        self._before: Mapping[str, Spent] = {}
        self._taken: dict[str, _Taken] = {}

    def begin(self, spent: Mapping[str, Spent]) -> None:
        """`spent`: before this process."""
        self._before = spent

    def before(self, grant: str) -> Spent:
        return self._before.get(grant, Spent())

    def opened(self, session: Session, at: float) -> None:
        """What is written of it counts from now on. Forgets grants of which no certificate holds any more by then."""
        for grant in [one for one, taken in self._taken.items() if taken.until + APART_S_MAX <= at]:
            del self._taken[grant]
        held = self._taken.setdefault(session.grant, _Taken(self.before(session.grant).recorded, 0.0))
        held.until = max(held.until, session.expires_at)

    def fits(self, grant: str, size: int) -> bool:
        held = self._taken.get(grant)
        return held is not None and held.recorded + size <= self._most

    def add(self, grant: str, size: int) -> None:
        """What is written, or on its way."""
        held = self._taken.get(grant)
        if held is not None:
            held.recorded += size
