"""The directory's outbox as the source of its log."""

from collections.abc import Mapping, Sequence

from directory.database import DatabaseUnavailable, session
from foundation.ledger.draining import SourceUnavailable
from foundation.ledger.entries import Recorded
from foundation.ledger.outbox import OutboxReader, WritersUnderWay
from foundation.postgres import Pool

NAME = "directory"
"""Of the source, in the log's entries."""
_READER = OutboxReader("directory")


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
