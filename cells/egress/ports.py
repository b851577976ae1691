"""What a release asks of others: rows, whose law persons are under, the rules that hold, the outbox."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from cells.egress.reading import LAST, Page, Standing
from foundation.ledger.notes import Signer
from foundation.ledger.port import Event
from foundation.words import ShardId, SubjectId
from routing_rules.facts import SubjectFacts
from routing_rules.rules import Rules


class Source(Protocol):
    """A cell's table. Pages come in the order of keys, per shard."""

    @property
    def shards(self) -> Sequence[ShardId]: ...

    async def page(self, shard: ShardId, after: tuple[str, str], until: tuple[str, str] = LAST) -> Page: ...

    async def standing(self, shard: ShardId, subjects: Sequence[SubjectId], owners: Sequence[str]) -> Standing:
        """What holds of these persons now, whatever a page of them said before."""
        ...


class Origins(Protocol):
    """Whose law persons are under. A subject of whom the directory does not say that it is active in this cell is left out."""

    async def facts(self, subjects: Sequence[SubjectId]) -> Mapping[SubjectId, SubjectFacts]: ...


class Ledger(Protocol):
    """Records an event durably, once whoever repeats it."""

    async def record(self, event: Event) -> None: ...


class World(msgspec.Struct, frozen=True):
    """What a release asks of others. `rules`: those that hold now. `now`: unix seconds."""

    source: Source
    origins: Origins
    ledger: Ledger
    rules: Callable[[], Awaitable[Rules]]
    now: Callable[[], float]
    signer: Signer
    actor: str
