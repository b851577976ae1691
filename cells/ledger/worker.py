"""The outboxes of a cell's shards as sources of its log, and what the log's own events go into; where its entries may be sent to."""

from collections.abc import Mapping, Sequence

from cells.service.context import Context
from cells.shards import store
from cells.shards.shard import FAULTS, Shard
from directory.rules.client import RulesFollower
from foundation import logs
from foundation.ledger.draining import Source, SourceUnavailable
from foundation.ledger.entries import Recorded
from foundation.ledger.export.settings import ExportSettings, abroad
from foundation.ledger.keeping import Keeping
from foundation.ledger.outbox import OutboxReader, WritersUnderWay
from foundation.ledger.port import Event, RecordEvents
from foundation.problems import ProblemError
from foundation.words import CellId, Country, ShardId
from routing_rules.policy import Policy

log = logs.get(__name__)

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


def recording(context: Context) -> RecordEvents:
    """Events into the outbox of the cell's first shard, durably."""

    async def record(events: Sequence[Event]) -> None:
        await context.event_shard().record(events)

    return record


async def export_for_ever(kept: Keeping, context: Context, rules: RulesFollower, mistakes: list[str]) -> None:
    """Payloads leave for the countries of the cell and its shards only, as the first rules have them; whatever else was asked for is one of
    the `mistakes` for which the process is not ready, and is not done."""
    stray: Sequence[ExportSettings] = ()
    if any(one.shows and one.url for one in kept.exports):
        await rules.first.wait()
        stray = abroad(kept.exports, countries_of(context.rules.require().policy, context.cell))
    for one in stray:
        log.error("ledger_export_abroad", source=one.name, reason=f"payloads do not go to {one.country}")
        mistakes.append(f"export {one.name}: payloads do not go to {one.country}")
    await kept.export([one for one in kept.exports if one not in stray], f"cell:{context.cell}")


def countries_of(policy: Policy, cell: CellId) -> frozenset[Country]:
    """Where a cell is: its region's country, and its shards'. None where policy declares no such cell."""
    declared = policy.cells.get(cell)
    if declared is None:
        return frozenset()
    return frozenset({policy.regions[declared.region].country, *(one.country for one in declared.shards.values())})
