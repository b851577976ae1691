"""Statements: identifiers only from the contract, quoted; values only as parameters, cast to the contract's types. Pure.

$1 is the subject, $2 the epoch (see `cells.shards.fence`); every other value is a text parameter.
"""

from typing import assert_never

import msgspec

from cells.records import errors
from cells.records.body import Rows
from cells.records.contracts import TYPES, Contract
from cells.records.core import Bound, Grant
from cells.records.dialect import Condition, Operator, Order, Query, Returned, Selected
from cells.shards.fence import fenced_read, fenced_write
from foundation.problems import Code

_COMPARED = {
    Operator.EQ: "=", Operator.NEQ: "<>", Operator.GT: ">", Operator.GTE: ">=", Operator.LT: "<", Operator.LTE: "<=",
}  # fmt: skip
_IS = {"null": "NULL", "not_null": "NOT NULL", "true": "TRUE", "false": "FALSE", "unknown": "UNKNOWN"}
JSON_ROW = "to_json(_w)::text"


class Statement(msgspec.Struct, frozen=True):
    """SQL and its arguments, $1 first."""

    sql: str
    arguments: tuple[str | int | list[str], ...]


class _Parameters:
    """Collects arguments and hands out their places."""

    def __init__(self, bound: Bound) -> None:
        self.held: list[str | int | list[str]] = [bound.subject, bound.epoch]

    def text(self, value: str) -> str:
        self.held.append(value)
        return f"${len(self.held)}::text"

    def texts(self, values: tuple[str, ...]) -> str:
        self.held.append(list(values))
        return f"${len(self.held)}::text[]"


class Builder:
    """Statements on one contract's table for one caller."""

    def __init__(self, contract: Contract, granted: Grant, bound: Bound, *, rows_max: int) -> None:
        self._contract = contract
        self._granted = granted
        self._bound = bound
        self._rows_max = rows_max

    def read(self, query: Query) -> Statement:
        """Answers rows (epoch, state, row), see `fenced_read`."""
        parameters = _Parameters(self._bound)
        limit = self._rows_max if query.limit is None else min(query.limit, self._rows_max)
        where = self._where(query, parameters)
        sql = (
            f'SELECT {self._selected(query)} FROM live."{self._contract.table}" AS t WHERE {where}{self._ordered(query.order)} '  # noqa: S608
            f"LIMIT {parameters.text(str(limit))}::bigint OFFSET {parameters.text(str(query.offset))}::bigint"
        )
        return Statement(fenced_read(sql, JSON_ROW), tuple(parameters.held))

    def insert(self, rows: Rows, query: Query, returned: Returned) -> Statement:
        """Answers rows (held, row), see `fenced_write`."""
        if query.where or query.order or query.limit is not None or query.offset:
            raise errors.dialect(errors.QUERY, "an insert takes select only")
        parameters = _Parameters(self._bound)
        body = f"{parameters.text(rows.json)}::json"
        contract, targets, values = self._contract, [self._contract.placed_by], ["$1::uuid"]
        if contract.owner != contract.placed_by:
            targets.append(contract.owner)
            values.append(f"{parameters.text(str(self._bound.owner))}::uuid")
        targets += rows.columns
        values += [f'_b."{name}"' for name in rows.columns]
        source = (
            f"json_to_recordset({body}) AS _b({self._typed(rows)})"
            if rows.columns
            else f"json_array_elements({body}) AS _b"
        )
        sql = (
            f'INSERT INTO product."{contract.table}" AS t ({_quoted(targets)})\n'
            f"SELECT {', '.join(values)} FROM h CROSS JOIN {source}\nRETURNING {self._returning(query, returned)}"
        )
        return self._write(sql, returned, parameters)

    def update(self, rows: Rows, query: Query, returned: Returned) -> Statement:
        """Answers rows (held, row), see `fenced_write`."""
        self._check_no_page(query)
        parameters = _Parameters(self._bound)
        body = f"{parameters.text(rows.json)}::json"
        sets = ", ".join(f'"{name}" = _b."{name}"' for name in rows.columns)
        sql = (
            f'UPDATE product."{self._contract.table}" AS t SET {sets}\n'  # noqa: S608
            f"FROM h CROSS JOIN json_to_record({body}) AS _b({self._typed(rows)})\n"
            f"WHERE {self._where(query, parameters)}\nRETURNING {self._returning(query, returned)}"
        )
        return self._write(sql, returned, parameters)

    def delete(self, query: Query, returned: Returned) -> Statement:
        """Answers rows (held, row), see `fenced_write`."""
        self._check_no_page(query)
        if not self._granted.everything:
            message = f"rows of {self._contract.table} may not be deleted by this caller"
            raise errors.dialect(errors.NO_RIGHT, message, code=Code.FORBIDDEN)
        parameters = _Parameters(self._bound)
        sql = (
            f'DELETE FROM product."{self._contract.table}" AS t USING h\n'  # noqa: S608
            f"WHERE {self._where(query, parameters)}\nRETURNING {self._returning(query, returned)}"
        )
        return self._write(sql, returned, parameters)

    def _write(self, sql: str, returned: Returned, parameters: _Parameters) -> Statement:
        answered = fenced_write(sql, JSON_ROW) + f" LIMIT {self._rows_max}"
        if returned is Returned.MINIMAL:
            # One row whatever was written: the count is not told, only whether the fence held.
            answered = fenced_write(sql, "NULL::text") + " LIMIT 1"
        return Statement(answered, tuple(parameters.held))

    def _check_no_page(self, query: Query) -> None:
        if query.order or query.limit is not None or query.offset:
            raise errors.dialect(errors.QUERY, "limit, offset and order are for reading")

    def _selected(self, query: Query) -> str:
        chosen = query.select or tuple(Selected(name, name) for name in self._granted.read)
        for one in chosen:
            self._check_readable(one.column)
        if not chosen:
            raise errors.dialect(errors.NO_RIGHT, "nothing here is readable for this caller", code=Code.FORBIDDEN)
        return ", ".join(f't."{one.column}" AS "{one.name}"' for one in chosen)

    def _returning(self, query: Query, returned: Returned) -> str:
        match returned:
            case Returned.MINIMAL:
                return "1 AS one"
            case Returned.HEADERS_ONLY:
                return 't."id" AS "id"'
            case Returned.REPRESENTATION:
                return self._selected(query)
            case _:
                assert_never(returned)

    def _where(self, query: Query, parameters: _Parameters) -> str:
        terms = [f't."{self._contract.placed_by}" = $1::uuid']
        if self._bound.owner_only:
            terms.append(f't."{self._contract.owner}" = {parameters.text(str(self._bound.owner))}::uuid')
        terms += [self._term(condition, parameters) for condition in query.where]
        return " AND ".join(terms)

    def _term(self, condition: Condition, parameters: _Parameters) -> str:
        column = self._filterable(condition.column)
        cast = TYPES[self._contract.columns[condition.column].type]
        match condition.operator:
            case Operator.IS:
                term = f"{column} IS {_IS[condition.values[0]]}"
            case Operator.IN:
                term = f"{column} = ANY ({parameters.texts(condition.values)}::{cast}[])"
            case _:
                term = f"{column} {_COMPARED[condition.operator]} {parameters.text(condition.values[0])}::{cast}"
        return f"NOT ({term})" if condition.negated else term

    def _ordered(self, order: tuple[Order, ...]) -> str:
        if not order:
            return ""
        terms = []
        for one in order:
            nulls = f" NULLS {one.nulls.upper()}" if one.nulls else ""
            terms.append(f"{self._filterable(one.column)} {'DESC' if one.descending else 'ASC'}{nulls}")
        return f" ORDER BY {', '.join(terms)}"

    def _filterable(self, name: str) -> str:
        self._check_readable(name)
        if name not in self._granted.filter:
            message = f"column {name} of {self._contract.table} is sealed: no filter or order on it"
            raise errors.dialect(errors.NO_RIGHT, message, code=Code.FORBIDDEN)
        return f't."{name}"'

    def _check_readable(self, name: str) -> None:
        if name in self._granted.read:
            return
        if name not in self._contract.columns:
            raise errors.dialect(errors.NO_COLUMN, f"column {self._contract.table}.{name} does not exist")
        message = f"column {name} of {self._contract.table} may not be read by this caller for this purpose"
        raise errors.dialect(errors.NO_RIGHT, message, code=Code.FORBIDDEN)

    def _typed(self, rows: Rows) -> str:
        return ", ".join(f'"{name}" {TYPES[self._contract.columns[name].type]}' for name in rows.columns)


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
