"""Which tables of a shard fit their contracts, as the last look at the catalogue found it, and which are held by a change under way.

A look is one query, every LOOK_S and as soon as a statement meets what a change left behind. It takes no lock on a product's table.
"""

import asyncio
from collections.abc import Mapping

import asyncpg
from prometheus_client import Gauge

from cells.records.contracts import Contract
from cells.schema import catalogue
from cells.schema.core import ABSENT, Mismatch, Table, mismatches, reason, unclassified
from foundation import logs
from foundation.clock import Clock
from foundation.postgres import Pool
from foundation.problems import Code, ProblemError, refuse
from foundation.words import ShardId, Verb

log = logs.get(__name__)

REFUSED = Gauge("domicile_cell_tables_refused", "1 while a table does not fit its contract", ["shard", "table"])

LOOK_S = 2.0
"""A change of a table is noticed so long after its commit at the latest, and the time that one query takes."""
ACQUIRE_S_MAX = 2.0
HELD_S = 0.5
"""So long a table that is held by a change is not tried again; then one statement tries for the others."""
TRY_S_MAX = 3.0

CHANGED = frozenset({"42703", "42P01", "42501", "42883", "42P13", "3F000", "0A000"})
"""What only a changed table makes of our own statements: a column, table, right, operator or type is not what it was."""
PERHAPS = frozenset({"42804", "42846", "42P10", "428C9", "23502", "55000"})
"""What a changed table or the caller's own request may be the cause of: the catalogue tells which."""
WAITED = "55P03"


class Standing:
    """One shard's tables under contracts."""

    def __init__(self, shard: ShardId, contracts: Mapping[str, Contract], clock: Clock) -> None:
        self._shard = shard
        self._contracts = contracts
        self._clock = clock
        self._found: dict[str, tuple[Mismatch, ...]] = {}
        self._hidden: dict[str, tuple[str, ...]] = {}
        self.holds: dict[tuple[str, Verb], float] = {}
        """Tables that a change holds for a verb, and until when they are not tried. While there are none, nobody need `enter`, `go_on`
        or be `done`."""
        self._seen_held: dict[tuple[str, Verb], float] = {}
        self._looking = asyncio.Lock()
        self._begun = self._ended = 0

    @property
    def refused(self) -> Mapping[str, tuple[Mismatch, ...]]:
        """Tables that do not fit their contracts → every mismatch."""
        return {name: found for name, found in self._found.items() if found}

    def require(self, table: str, verb: Verb) -> None:
        """Raises ProblemError (NOT_READY) while the table does not fit its contract."""
        found = self._found.get(table)
        why = reason(found, verb) if found else None
        if why is not None:
            raise refuse(Code.NOT_READY, f"the table does not fit its contract: {why}", retry_after_s=5)

    def fits(self, table: str) -> bool:
        """Whether `require` would let every verb through."""
        return not self._found.get(table)

    async def look(self, cell: Pool) -> None:
        """Reads the catalogue. Raises as asyncpg does."""
        asked = self._begun
        async with self._looking:
            if self._ended > asked:
                return  # one that began after this was asked for has seen it
            self._begun = number = self._begun + 1
            async with cell.acquire(timeout=ACQUIRE_S_MAX) as connection:
                found = await catalogue.tables(connection, list(self._contracts))
            self._ended = number
            for name, contract in self._contracts.items():
                self._take(contract, found.get(name, ABSENT))

    def close(self) -> None:
        """Nothing is known of a shard that is not up."""
        for name in self._found:
            REFUSED.remove(self._shard, name)
        self._found.clear()

    def _take(self, contract: Contract, table: Table) -> None:
        name, found, hidden = contract.table, mismatches(contract, table), unclassified(contract, table)
        before = self._found.get(name, ())
        self._found[name] = found
        REFUSED.labels(self._shard, name).set(1 if found else 0)
        if found != before and found:
            log.error("table_refused", shard=self._shard, table=name, reason="; ".join(one.what for one in found))
        elif found != before:
            log.info("table_fits", shard=self._shard, table=name)
        if hidden and hidden != self._hidden.get(name):
            log.info("columns_unclassified", shard=self._shard, table=name, column=", ".join(hidden))
        self._hidden[name] = hidden

    async def met(self, cell: Pool, table: str, verb: Verb, error: asyncpg.PostgresError) -> None:
        """Looks at once where a statement failed as it does on a table that has changed. Raises ProblemError naming the table if it has."""
        state = error.sqlstate or ""
        if state == WAITED:
            await self._waited(cell, table, verb)
        if state not in CHANGED | PERHAPS or self._of_the_callers(table, error):
            return
        await self.look(cell)
        self.require(table, verb)
        if state in CHANGED:
            # It fits again by now, or what the statement met is behind the table: a trigger of the product's, or a fault here.
            log.error("statement_refused", shard=self._shard, table=table, code=state)
            raise refuse(Code.NOT_READY, f"table {table} is being changed", retry_after_s=1)

    def _of_the_callers(self, table: str, error: asyncpg.PostgresError) -> bool:
        """Whether a value is missing that the caller could have given."""
        contract = self._contracts[table]
        return error.sqlstate == "23502" and getattr(error, "column_name", None) in contract.classified

    # --- held by a change that is under way --------------------------------------------------------------------------------------

    async def _waited(self, cell: Pool, table: str, verb: Verb) -> None:
        """Of many that waited together one asks who holds the table. Raises ProblemError where a change does."""
        async with self._looking:
            if self._clock.monotonic_s() < self._seen_held.get((table, verb), 0.0) + HELD_S:
                raise _held(table)
            async with cell.acquire(timeout=ACQUIRE_S_MAX) as connection:
                held = await catalogue.locked(connection, table)
            if not held:
                self.holds.pop((table, verb), None)
                return
            now = self._clock.monotonic_s()
            if now > self._seen_held.get((table, verb), 0.0) + TRY_S_MAX:
                log.warning("table_held", shard=self._shard, table=table, verb=verb.value)
            self._seen_held[table, verb] = now
            self.holds[table, verb] = now + HELD_S
        raise _held(table)

    def enter(self, table: str, verb: Verb) -> bool:
        """Before a connection is asked for. True: this statement tries for all whether the table is free. Raises ProblemError."""
        until = self.holds.get((table, verb))
        if until is None:
            return False
        now = self._clock.monotonic_s()
        if now < until:
            raise _held(table)
        self.holds[table, verb] = now + TRY_S_MAX
        return True

    def held(self, table: str, verb: Verb) -> bool:
        """Whether `enter` would refuse, or let this one try for all."""
        return (table, verb) in self.holds

    def go_on(self, table: str, verb: Verb, *, tries: bool) -> None:
        """With a connection in hand: a statement that waited for it does not go on to wait for the table too. Raises ProblemError."""
        if not tries and (table, verb) in self.holds:
            raise _held(table)

    def gave_up(self, table: str, verb: Verb) -> None:
        """A statement gave up waiting for the table, and says so before its connection is given to the next."""
        self.holds[table, verb] = self._clock.monotonic_s() + HELD_S

    def done(self, table: str, verb: Verb) -> None:
        """A statement on the table came through."""
        self.holds.pop((table, verb), None)


def _held(table: str) -> ProblemError:
    return refuse(Code.NOT_READY, f"a change of table {table} is under way", retry_after_s=1)
