"""Statements: one a request, fenced; identifiers only from the contract, values only as parameters. Pure.

$1 is the subject, $2 the epoch (see `cells.shards.fence`); every other value is a text parameter.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import assert_never

import msgspec

from cells.records import errors
from cells.records.body import Batch, Changes, Rows
from cells.records.contracts import TYPES, Contract
from cells.records.core import Bound, Grant
from cells.records.dialect import EVERYTHING
from cells.records.preferences import Resolution, Returned
from cells.records.query import Condition, Operator, Path, Query, Selected, Star
from cells.records.ranges import Page
from cells.records.terms import Parameters, Terms
from cells.shards.fence import fenced_read, fenced_write
from foundation.problems import Code

JSON_ROW = "to_json({})::text"
STRIPPED_ROW = "json_strip_nulls(to_json({}))::text"
HELD_BYTES_MAX = 8 << 20
"""Rows that an answer holds in memory. Of a read Postgres keeps those beyond back, and the last row's `bytes` says that it did; a write
that would give back more fails, and leaves nothing."""
WRITTEN_ROWS_MAX = 10_000
"""Rows that a write gives back, likewise."""
TOLD_APART = 2
"""Rows of which only it matters whether there is one."""


class Statement(msgspec.Struct, frozen=True):
    """SQL and its arguments, $1 first."""

    sql: str
    arguments: tuple[str | int | list[str], ...]


class Builder:
    """Statements on one contract's table for one caller. `stripped`: members that are null are left out of rows. `row`: the form of one."""

    def __init__(self, contract: Contract, granted: Grant, bound: Bound, *, stripped: bool = False) -> None:
        self._contract = contract
        self._granted = granted
        self.bound = bound
        self.row = STRIPPED_ROW if stripped else JSON_ROW

    def _begin(self) -> None:
        """Another statement, with parameters of its own."""
        self._parameters = Parameters(self.bound)
        self._terms = Terms(self._contract, self._granted, self._parameters)

    def read(self, query: Query, page: Page, *, counted: bool = False, held: bool = True) -> Statement:
        """Answers rows (epoch, state, total, bytes, row), see `fenced_read`. `total`: what the filters match, null unless counted.

        With `held`, rows beyond HELD_BYTES_MAX are null; `bytes` counts up to each row.
        """
        self._begin()
        self._check_reads(query)
        selected, where = self._selected(query), self._where(query)
        table = f'live."{self._contract.table}" AS t'
        total = f"(SELECT count(*) FROM {table} WHERE {where})" if counted else "NULL::bigint"  # noqa: S608
        sql = (
            f"SELECT {selected} FROM {table} WHERE {where}{self._terms.ordered(query.order)} "  # noqa: S608
            f"LIMIT {self._number(page.limit)} OFFSET {self._number(page.offset)}"
        )
        sql = f"SELECT {self.row.format('_r')} AS json FROM (\n{sql}\n) AS _r"  # noqa: S608
        if held:
            return self._made(fenced_read(sql, f"{total} AS total, {_within('_w.json')}") + _IN_ORDER)
        return self._made(fenced_read(sql, f"{total} AS total, _w.json"))

    def count(self, query: Query) -> Statement:
        """Answers one row (epoch, state, total, row): how many rows a read without its page would give."""
        self._begin()
        self._check_reads(query)
        # What is asked for is held to the grant all the same.
        self._selected(query)
        self._terms.ordered(query.order)
        self._begin()
        where = self._where(query)
        sql = f'SELECT count(*) AS total FROM live."{self._contract.table}" AS t WHERE {where}'  # noqa: S608
        return self._made(fenced_read(sql, "_w.total, NULL::text"))

    def insert(self, rows: Rows, query: Query, returned: Returned, resolution: Resolution | None = None) -> Statement:
        """Answers rows (held, total, row), see `fenced_write`. `total`: rows written."""
        self._begin()
        if query.where or query.order or query.limit is not None or query.offset:
            raise errors.dialect(errors.QUERY, "an insert takes select, columns and on_conflict only")
        if resolution is None and query.conflict is not None:
            raise errors.dialect(
                errors.QUERY, "on_conflict needs Prefer: resolution=merge-duplicates or ignore-duplicates"
            )
        owner = "" if self._contract.owner == self._contract.placed_by else self._owner()
        giving = self._returning(query, returned)
        writes = [
            f"{self._inserted(batch, owner)}{self._resolved(batch, owner, query, resolution)}{giving}"
            for batch in rows.batches
        ]
        return self._written(returned, *writes)

    def put(self, row: Batch, key: str, query: Query, returned: Returned) -> Statement:
        """Answers rows (held, existed, total, row), see `fenced_write`. `total`: 0 where the row of this key is another owner's.

        `existed`: whether the statement's snapshot had the row. What the row lacks takes the column's default, in a row there is too.
        """
        self._begin()
        owner = "" if self._contract.owner == self._contract.placed_by else self._owner()
        self._terms.filterable("id")
        found = Condition(path=Path("id"), operator=Operator.EQ, values=(key,))
        where = self._where(msgspec.structs.replace(query, where=(found,)))
        existed = f'EXISTS (SELECT 1 FROM product."{self._contract.table}" AS t WHERE {where}) AS existed'  # noqa: S608
        write = f"{self._inserted(row, owner)}{self._merged(('id',), sorted(self._granted.write), owner)}"
        return self._written(returned, write + self._returning(query, returned), more=f"{existed}, ")

    def update(self, changes: Changes, query: Query, returned: Returned) -> Statement:
        """Answers rows (held, total, row), see `fenced_write`. `total`: rows that matched."""
        self._begin()
        self._check_changes(query)
        batch = changes.batch
        sets = [f'"{name}" = _b."{name}"' for name in batch.columns]
        sets += [f'"{name}" = DEFAULT' for name in changes.defaults]
        source = ""
        if batch.columns:
            source = (
                f" CROSS JOIN json_to_record({self._parameters.text(batch.json)}::json) AS _b({self._typed(batch)})"
            )
        sql = (
            f'UPDATE product."{self._contract.table}" AS t SET {", ".join(sets)}\n'  # noqa: S608
            f"FROM h{source}\n"
            f"WHERE {self._where(query)}{self._returning(query, returned)}"
        )
        return self._written(returned, sql)

    def delete(self, query: Query, returned: Returned) -> Statement:
        """Answers rows (held, total, row), see `fenced_write`. `total`: rows deleted."""
        self._begin()
        self._check_changes(query)
        if query.columns is not None:
            raise errors.dialect(errors.QUERY, "columns is for bodies")
        if not self._granted.everything:
            message = f"rows of {self._contract.table} may not be deleted by this caller"
            raise errors.dialect(errors.NO_RIGHT, message, code=Code.FORBIDDEN)
        sql = (
            f'DELETE FROM product."{self._contract.table}" AS t USING h\n'  # noqa: S608
            f"WHERE {self._where(query)}{self._returning(query, returned)}"
        )
        return self._written(returned, sql)

    def _inserted(self, batch: Batch, owner: str) -> str:
        contract, targets, values = self._contract, [self._contract.placed_by], ["$1::uuid"]
        if owner:
            targets.append(contract.owner)
            values.append(owner)
        targets += batch.columns
        values += [f'_b."{name}"' for name in batch.columns]
        body = f"{self._parameters.text(batch.json)}::json"
        source = f"json_to_recordset({body}) AS _b({self._typed(batch)})"
        if not batch.columns:
            source = f"json_array_elements({body}) AS _b"
        return (
            f'INSERT INTO product."{contract.table}" AS t ({_quoted(targets)})\n'
            f"SELECT {', '.join(values)} FROM h CROSS JOIN {source}"
        )

    def _resolved(self, batch: Batch, owner: str, query: Query, resolution: Resolution | None) -> str:
        """ON CONFLICT. The subject is always part of the key, and a row of another subject or owner is left alone and not told."""
        if resolution is None:
            return ""
        named = ("id",) if query.conflict is None else query.conflict
        for name in named:
            self._terms.filterable(name)
        return self._merged(named, () if resolution is Resolution.IGNORE else batch.columns, owner)

    def _merged(self, key: Sequence[str], columns: Sequence[str], owner: str) -> str:
        target = f"\nON CONFLICT ({_quoted(list(dict.fromkeys((self._contract.placed_by, *key))))})"
        if not columns:
            return f"{target} DO NOTHING"
        sets = ", ".join(f'"{name}" = EXCLUDED."{name}"' for name in columns)
        # Where all of a subject's rows may be changed, so may those that another person of it owns.
        bound = f' AND t."{self._contract.owner}" = {owner}' if owner and self.bound.owner_only else ""
        return f'{target} DO UPDATE SET {sets}\nWHERE t."{self._contract.placed_by}" = $1::uuid{bound}'

    def _written(self, returned: Returned, *writes: str, more: str = "") -> Statement:
        counted = "(SELECT count(*) FROM _w) AS total"
        total = f"{more}{counted}"
        row = self.row.format("_w")
        match returned:
            case Returned.MINIMAL:
                return self._made(fenced_write(writes, f"{total}, NULL::text") + " LIMIT 1")
            case Returned.HEADERS_ONLY:
                return self._made(fenced_write(writes, f"{total}, {row}") + f" LIMIT {TOLD_APART}")
            case Returned.REPRESENTATION:
                return self._made(fenced_write(writes, f"{total}, {_whole(row)}") + _IN_ORDER)
            case _:
                assert_never(returned)

    def _made(self, sql: str) -> Statement:
        return Statement(sql, tuple(self._parameters.held))

    def _check_reads(self, query: Query) -> None:
        if query.columns is not None or query.conflict is not None:
            raise errors.dialect(errors.QUERY, "columns and on_conflict are for inserts")

    def _check_changes(self, query: Query) -> None:
        if query.order or query.limit is not None or query.offset:
            raise errors.dialect(errors.QUERY, "limit, offset and order are for reading")
        if query.conflict is not None:
            raise errors.dialect(errors.QUERY, "on_conflict is for inserts")

    def _selected(self, query: Query) -> str:
        if query.select == EVERYTHING and self._granted.read:
            return _every(self._granted.read)
        found: dict[str, Selected] = {}
        for item in query.select:
            names = self._granted.read if isinstance(item, Star) else ()
            several = [Selected(Path(name), name) for name in names] if isinstance(item, Star) else [item]
            for one in several:
                if found.setdefault(one.name, one) != one:
                    raise errors.dialect(errors.QUERY, f"select: two columns come back as {one.name}")
        if not found:
            raise errors.dialect(errors.NO_RIGHT, "nothing here is readable for this caller", code=Code.FORBIDDEN)
        return ", ".join(f'{self._terms.selected(one.path, one.cast)} AS "{one.name}"' for one in found.values())

    def _returning(self, query: Query, returned: Returned) -> str:
        match returned:
            case Returned.MINIMAL:
                giving = "1 AS one"
            case Returned.HEADERS_ONLY:
                giving = 't."id" AS "id"'
            case Returned.REPRESENTATION:
                giving = self._selected(query)
            case _:
                assert_never(returned)
        return f"\nRETURNING {giving}"

    def _where(self, query: Query) -> str:
        terms = [f't."{self._contract.placed_by}" = $1::uuid']
        if self.bound.owner_only:
            terms.append(f't."{self._contract.owner}" = {self._owner()}')
        return " AND ".join(terms + self._terms.where(query.where))

    def _owner(self) -> str:
        return f"{self._parameters.text(str(self.bound.owner))}::uuid"

    def _number(self, value: int) -> str:
        return f"{self._parameters.text(str(value))}::bigint"

    def _typed(self, batch: Batch) -> str:
        return ", ".join(f'"{name}" {TYPES[self._contract.columns[name].type]}' for name in batch.columns)


@lru_cache(maxsize=1_000)
def _every(names: tuple[str, ...]) -> str:
    return ", ".join(f't."{name}" AS "{name}"' for name in names)


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


_IN_ORDER = "\nWINDOW _u AS (ROWS UNBOUNDED PRECEDING)"


def _upto(row: str) -> str:
    return f"sum(octet_length({row})) OVER _u"


def _within(row: str) -> str:
    """A row's text unless those up to it are over HELD_BYTES_MAX, with their length as `bytes` before it."""
    return f"{_upto(row)} AS bytes, CASE WHEN {_upto(row)} <= {HELD_BYTES_MAX} THEN {row} END"


def _whole(row: str) -> str:
    """A row's text; where the rows are too long or too many to be held, the statement fails (`errors.LARGE`)."""
    many = f"(SELECT count(*) FROM _w) > {WRITTEN_ROWS_MAX}"  # noqa: S608 - a constant
    return f"CASE WHEN {many} OR {_upto(row)} > {HELD_BYTES_MAX} THEN domicile.refuse_large() ELSE {row} END"
