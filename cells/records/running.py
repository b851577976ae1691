"""A request's statement on its shard: the rows that its fence let through, or why there are none."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeAlias

import asyncpg

from cells.records import answers, errors
from cells.records.answers import Found
from cells.records.asking import Asked
from cells.records.statements import HELD_BYTES_MAX, Statement
from cells.records.streams import BUFFERED_ROWS_MAX
from cells.service.context import Context
from cells.shards.connections import Lease
from cells.shards.core import Refused, check
from foundation.problems import Code
from foundation.words import Verb

READ = Verb.READ
Rows: TypeAlias = list[asyncpg.Record]
"""What a statement answers: at least one row."""


class Running:
    """Runs statements over one cell's context. The caller holds one turn of the subject's (`cells.records.limits`) until everything has
    been asked: why there are no rows is the shard's to say, too, and whoever was let in to ask the one is not refused the other."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def rows(self, asked: Asked, statement: Statement, *, lease: Lease | None = None) -> Coroutine[Any, Any, Rows]:
        """Raises ProblemError, asyncpg.PostgresError."""

        return asked.shard.fetch(
            statement.sql,
            statement.arguments,
            table=asked.contract.table,
            verb=asked.verb,
            check=None if asked.verb is READ else _undoing(asked),
            lease=lease,
        )

    async def found(self, asked: Asked, awaited: Awaitable[Rows]) -> Found | None:
        """What was found or written; None for a read whose rows are too many or too long to be held. Raises ProblemError.

        A statement whose fence did not hold has done nothing.
        """
        try:
            rows = await awaited
        except asyncpg.PostgresError as exc:
            await asked.shard.met(asked.contract.table, asked.verb, exc)
            problem = errors.of_postgres(exc)
            if problem is None:
                raise
            raise problem from exc
        await self.check_stood(asked, rows[0])
        return None if many(asked, rows) else found_in(rows)

    async def check_stood(self, asked: Asked, first: asyncpg.Record) -> None:
        """Raises ProblemError unless the fence stood as decided: what it says now. A cut in progress, or one that has just ended, asks for
        another try."""
        if stood(asked, first):
            return
        home, closing = await asked.shard.fence(asked.subject)
        if home is not None:
            self._context.homes.put(asked.subject, home)
        refused = None if closing else check(home, asked.epoch, asked.verb)
        raise errors.fenced(refused or Refused(Code.CELL_BEHIND, "the fence is being raised"))


def _undoing(asked: Asked) -> Callable[[Sequence[asyncpg.Record]], None] | None:
    """What raises where a write must not stay; None where every one may."""
    if not asked.media.single and asked.preferences.affected_max is None:
        return None

    def check(rows: Sequence[asyncpg.Record]) -> None:
        refused = answers.check_written(rows[0]["total"], asked.preferences, asked.media)
        if rows[0]["held"] and refused is not None:
            raise refused

    return check


def stood(asked: Asked, first: asyncpg.Record) -> bool:
    """Whether the fence stood as decided: of a write it was held, of a read it was so in the snapshot of its rows."""
    if asked.verb is not READ:
        held: bool = first["held"]
        return held
    return first["epoch"] == asked.epoch and first["state"] in ("active", "frozen")


def many(asked: Asked, rows: Rows) -> bool:
    """Whether a read's rows are too many or too long to be held."""
    return asked.method == "GET" and (len(rows) > BUFFERED_ROWS_MAX or (rows[-1]["bytes"] or 0) > HELD_BYTES_MAX)


def found_in(rows: Rows) -> Found:
    first = rows[0]
    return Found(
        rows=[row["row"] for row in rows if row["row"] is not None],
        total=first["total"],
        existed=first.get("existed", False),
    )
