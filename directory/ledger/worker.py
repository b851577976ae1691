"""The directory's outbox as the source of its log, and what the log's own events go into; where its entries may be sent to."""

import asyncio
from collections.abc import Mapping, Sequence

from directory.database import DatabaseUnavailable, session, transaction
from directory.rules.live import LiveRules
from foundation import logs
from foundation.ledger.draining import SourceUnavailable
from foundation.ledger.entries import Recorded
from foundation.ledger.export.settings import ExportSettings, abroad
from foundation.ledger.keeping import Keeping
from foundation.ledger.outbox import OutboxReader, PostgresOutbox, WritersUnderWay
from foundation.ledger.port import Event, RecordEvents
from foundation.postgres import Pool
from foundation.problems import Code, Problem, refuse
from foundation.words import Country

log = logs.get(__name__)

NAME = "directory"
"""Of the source, in the log's entries."""
_READER = OutboxReader("directory")
_OUTBOX = PostgresOutbox("directory")
RULES_LOOK_S = 5.0


class DirectoryOutbox:
    """Implements `foundation.ledger.draining.Source`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def rows_from(self, position: int, limit: int) -> Sequence[Recorded]:
        try:
            async with session(self._pool) as connection:
                return await _READER.rows_from(connection, position, limit)
        except (DatabaseUnavailable, WritersUnderWay) as exc:
            raise SourceUnavailable(str(exc)) from exc

    async def ids_at(self, positions: Sequence[int]) -> Mapping[int, str]:
        try:
            async with session(self._pool) as connection:
                return await _READER.ids_at(connection, positions)
        except DatabaseUnavailable as exc:
            raise SourceUnavailable(str(exc)) from exc


def recording(pool: Pool) -> RecordEvents:
    """Events into the outbox, durably."""

    async def record(events: Sequence[Event]) -> None:
        try:
            async with transaction(pool) as tx:
                await _OUTBOX.append_many(tx, events)
        except DatabaseUnavailable as exc:
            raise refuse(Code.NOT_READY, "the directory's database did not answer", retry_after_s=1) from exc

    return record


async def export_for_ever(kept: Keeping, rules: LiveRules) -> None:
    """Payloads leave for the directory's own country only, as the rules at the start of this process have it."""
    exports: Sequence[ExportSettings] = kept.exports
    if any(one.shows and one.url for one in exports):
        stray = abroad(exports, [await _country(rules)])
        for one in stray:
            log.error("ledger_export_abroad", source=one.name, reason=f"payloads do not go to {one.country}")
        exports = [one for one in exports if one not in stray]
    await kept.export(exports, NAME)


async def _country(rules: LiveRules) -> Country:
    """Where the directory runs, once rules say so."""
    while True:
        try:
            current = await rules.current()
            if not isinstance(current, Problem):
                return current.policy.directory.country
        except DatabaseUnavailable as exc:
            log.warning("database_unavailable", worker="ledger exports", error=str(exc))
        await asyncio.sleep(RULES_LOOK_S)
