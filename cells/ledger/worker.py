"""The outboxes of a cell's shards as sources of its log."""

from collections.abc import Mapping, Sequence

from cells.shards import store
from cells.shards.shard import FAULTS, Shard
from foundation.ledger.draining import Source, SourceUnavailable
from foundation.ledger.entries import Recorded
from foundation.ledger.outbox import OutboxReader, WritersUnderWay
from foundation.problems import ProblemError
from foundation.words import ShardId

_READER = OutboxReader("domicile")
_ABSENT = (ProblemError, WritersUnderWay, *FAULTS)


class ShardOutbox:
    """Implements `foundation.ledger.draining.Source`."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    async def rows_from(self, position: int, limit: int) -> Sequence[Recorded]:
        try:
            async with store.session(self._shard.require().cell) as connection:
                return await _READER.rows_from(connection, position, limit)
        except _ABSENT as exc:
            raise SourceUnavailable(type(exc).__name__) from exc

    async def ids_at(self, positions: Sequence[int]) -> Mapping[int, str]:
        try:
            async with store.session(self._shard.require().cell) as connection:
                return await _READER.ids_at(connection, positions)
        except _ABSENT as exc:
            raise SourceUnavailable(type(exc).__name__) from exc


def sources(shards: Mapping[ShardId, Shard]) -> dict[str, Source]:
    """Those shards that are up just now; the outboxes of others wait in their databases."""
    return {name: ShardOutbox(shards[name]) for name in sorted(shards) if shards[name].up is not None}
