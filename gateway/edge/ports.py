"""What the edge asks of others: homes from the directory's client, verdicts from the rules, a place for records."""

import enum
from typing import Protocol

from directory.placement.core import Placement
from foundation.words import CellId, Epoch, LookupKey, ServiceId, SubjectId
from routing_rules.facts import PlaceFacts, RequestFacts, ViewFacts
from routing_rules.policy import Policy
from routing_rules.verdicts import Allowed, NoCell, Verdict


class Homeless(enum.Enum):
    """Two cases that must never be taken for each other."""

    NONE = "none"
    """It is known that there is no home."""
    UNKNOWN = "unknown"
    """Nobody can be asked, or what is known is too old."""


Home = Placement | Homeless


class Homes(Protocol):
    """The directory's client, as the edge uses it."""

    def lookup(self, key: LookupKey) -> Home | None:
        """What is known here without waiting; None means: ask `resolve`."""
        ...

    async def resolve(self, key: LookupKey) -> Home: ...

    async def refresh(self, key: LookupKey, *, newer_than: Epoch) -> Home:
        """Asks the directory itself, past every cache."""
        ...

    async def subject(self, subject_id: SubjectId) -> Home:
        """The home of a subject that a service named, from the nearest level that may say."""
        ...

    def held(self, subject_id: SubjectId) -> Epoch | None:
        """The newest epoch of a subject that is known here, without waiting; None where nothing is known."""
        ...

    async def refresh_subject(self, subject_id: SubjectId, *, newer_than: Epoch) -> Home: ...


class Ruling(Protocol):
    """The rules that hold now."""

    @property
    def policy(self) -> Policy: ...

    def decide(self, facts: RequestFacts) -> Verdict: ...

    def view(self, facts: ViewFacts) -> Verdict: ...

    def place(self, facts: PlaceFacts) -> Allowed | NoCell: ...

    def hosts(self, service: ServiceId, cell: CellId) -> tuple[str, ...]:
        """Where a service is reached in a cell: what the registry chose of policy's addresses. Empty: not in that cell."""
        ...

    def takes(self, cell: CellId, service: ServiceId) -> bool:
        """Whether the cell takes new people for a service just now; a drained one does not."""
        ...
