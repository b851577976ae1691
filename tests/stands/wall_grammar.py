"""Statements by a grammar, for the same two worlds: what a curious person with all of SQL may come to ask. From a seed; what they answer
does not rest on where rows lie."""

import random
from collections.abc import Mapping

_COLUMNS = {
    "people": {
        "text": ("name", "email", "city", "handle", "diary", "illness", "level"),
        "int": ("points", "weight", "rate"),
        "time": ("born", "seen"),
        "uuid": ("subject_id", "id", "friend"),
        "json": ("profile",),
    },
    "payments": {"text": ("iban", "memo"), "int": ("amount",), "time": ("paid_at",), "uuid": ("subject_id", "id"), "json": ()},
}  # fmt: skip
_ELSEWHERE = (
    "product.people",
    "live.people",
    "product.salaries",
    "domicile.home",
    "domicile.engineer_session",
    "pg_stats",
    "pg_authid",
)
_MISSING = ("card", "shadow", "salary", "ctid", "xmin")
_CASTS = (
    "int",
    "date",
    "uuid",
    "text",
    "numeric",
    "jsonb",
    "bytea",
    "timestamptz",
    "boolean",
    "inet",
    "regclass",
    "text[]",
)
_OF_TEXT = (
    "lower({0})", "md5({0})", "length({0})", "reverse({0})", "left({0}, 3)", "ascii({0})", "{0} || '!'", "split_part({0}, '@', 2)",
    "encode(convert_to({0}, 'UTF8'), 'hex')", "to_tsvector('simple', {0})", "quote_literal({0})", "substring({0} FROM 2 FOR 4)",
)  # fmt: skip
_OF_INT = (
    "{0} + 1", "1 / nullif({0}, 0)", "{0} % 97", "width_bucket({0}, 0, 1000000000, 9)", "to_char({0}, '999')", "sqrt(abs({0}))",
    "1 / ({0} - {number})",
)  # fmt: skip
_OF_TIME = (
    "extract(doy FROM {0})", "date_trunc('month', {0})", "{0}::text", "age({0}, '2026-01-01')", "to_char({0}, 'DDD')",
)  # fmt: skip
_AGGREGATES = (
    "count({0})", "count(DISTINCT {0})", "min({0}::text)", "max({0}::text)", "array_agg({0} ORDER BY {0}::text)",
    "string_agg({0}::text, ',' ORDER BY {0}::text)", "bool_or({0} IS NULL)", "json_agg({0} ORDER BY {0}::text)",
    "mode() WITHIN GROUP (ORDER BY {0}::text)",
)  # fmt: skip
_WINDOWS = (
    "rank() OVER (ORDER BY {0}::text, t.id)", "lag({0}::text) OVER (ORDER BY t.id)", "ntile(4) OVER (ORDER BY {0}::text, t.id)",
    "count(*) OVER (PARTITION BY {0}::text)", "first_value({0}::text) OVER (ORDER BY t.id)",
)  # fmt: skip
_WHOLE = ("t", "t::text", "row_to_json(t)", "to_jsonb(t)", "(t).*", "t IS NULL", "md5(t::text)", "ROW(t.*)")
_FORBIDDEN = (
    "pg_read_file('PG_VERSION')", "query_to_xml('TABLE product.people', true, true, '')", "lo_get(1)", "pg_sleep(0)", "txid_current()",
    "pg_stat_get_live_tuples('product.people'::regclass)", "product.whole_name('{own}')", "domicile.fence('{own}', 1)",
)  # fmt: skip
_WORDS = ("name", "email", "city", "handle", "diary", "illness", "card", "foreign_level", "foreign_name", "iban")
_EXPLAINS = (
    "EXPLAIN ",
    "EXPLAIN (VERBOSE) ",
    "EXPLAIN (ANALYZE) ",
    "EXPLAIN (ANALYZE, FORMAT JSON) ",
    "EXPLAIN (COSTS, SETTINGS) ",
)
_DEEP_MAX = 2


class Grammar:
    """`guesses`: texts that are right in one of the worlds."""

    def __init__(self, seed: int, guesses: Mapping[str, str]) -> None:
        self._chance = random.Random(seed)
        self._guesses = guesses
        self._words = [guesses[name] for name in _WORDS]
        self._numbers = [guesses[name] for name in ("salary", "foreign_points", "foreign_amount")]

    def statement(self) -> str:
        chance = self._chance
        query = self._query(0)
        if chance.random() < 0.12:
            return chance.choice(_EXPLAINS) + query
        if chance.random() < 0.1:
            word = chance.choice(("UNION", "UNION ALL", "INTERSECT", "EXCEPT"))
            column = self._column("people", "text")
            return f"SELECT {column} FROM people AS t {word} SELECT {self._column('people', 'text')} FROM people AS t"
        if chance.random() < 0.1:
            return f"WITH c AS {chance.choice(('', 'MATERIALIZED', 'NOT MATERIALIZED'))} ({query}) SELECT count(*), min(c::text) FROM c"
        return query

    def _pick(self, table: str) -> tuple[str, str]:
        kind = self._chance.choice(("text", "text", "int", "time", "uuid", "json"))
        names = _COLUMNS[table][kind] or ("id",)
        return kind, self._chance.choice(names)

    def _column(self, table: str, kind: str) -> str:
        return f"t.{self._chance.choice(_COLUMNS[table][kind])}"

    def _expression(self, table: str) -> str:
        chance = self._chance
        kind, name = self._pick(table)
        value = f"t.{name}"
        roll = chance.random()
        if roll < 0.02:
            return f"t.{chance.choice(_MISSING)}"
        if roll < 0.04:
            return chance.choice(_FORBIDDEN).format(**self._guesses)
        if roll < 0.10:
            return chance.choice(_WHOLE)
        if roll < 0.35:
            forms = {"text": _OF_TEXT, "int": _OF_INT, "time": _OF_TIME}.get(kind, ("{0}::text",))
            return chance.choice(forms).format(value, number=chance.choice(self._numbers))
        if roll < 0.45:
            return f"{value}::{chance.choice(_CASTS)}"
        if roll < 0.50:
            return f"CASE WHEN {self._condition(table, 2)} THEN {value}::text ELSE 'x' END"
        return value

    def _condition(self, table: str, deep: int) -> str:
        chance = self._chance
        kind, name = self._pick(table)
        value = f"t.{name}"
        roll = chance.random()
        if roll < 0.15 and deep < _DEEP_MAX:
            word = chance.choice((" AND ", " OR ", " AND NOT "))
            return f"({self._condition(table, deep + 1)}{word}{self._condition(table, deep + 1)})"
        if roll < 0.22 and deep < _DEEP_MAX:
            return f"{value}::text {chance.choice(('IN', 'NOT IN', '= ANY'))} ({self._inner(deep)})"
        if roll < 0.27 and deep < _DEEP_MAX:
            return f"EXISTS ({self._inner(deep)})"
        if roll < 0.35:
            return f"{self._expression(table)} IS {chance.choice(('', 'NOT '))}NULL"
        if roll < 0.40:
            return f"{value}::text::{chance.choice(_CASTS)}::text > ''"
        match kind:
            case "text":
                operator = chance.choice(("=", "<>", "<", ">", "LIKE", "ILIKE", "~", "~*", "SIMILAR TO"))
                return f"{value} {operator} '{chance.choice(self._words)}'"
            case "int":
                return f"{value} {chance.choice(('=', '<', '>', '<>'))} {chance.choice(self._numbers)}"
            case "time":
                return f"{value} {chance.choice(('=', '<', '>='))} '{self._guesses['born']}'"
            case "uuid":
                guess = self._guesses[chance.choice(("own", "moved", "foreign", "foreign_id"))]
                return f"{value} {chance.choice(('=', '<>', '<'))} '{guess}'"
            case _:
                return f"{value}::text LIKE '%{self._guesses['mail']}%'"

    def _inner(self, deep: int) -> str:
        table = self._chance.choice(tuple(_COLUMNS))
        return f"SELECT t.{self._chance.choice(_COLUMNS[table]['text'])} FROM {table} AS t WHERE {self._condition(table, deep + 1)}"

    def _query(self, deep: int) -> str:
        chance = self._chance
        table = chance.choice(tuple(_COLUMNS))
        source = chance.choice(_ELSEWHERE) if chance.random() < 0.03 else table
        joined = ""
        if chance.random() < 0.2:
            other = chance.choice(tuple(_COLUMNS))
            joined = chance.choice((
                f" JOIN {other} AS o ON o.subject_id = t.subject_id AND o.id <> t.id",
                f" LEFT JOIN {other} AS o ON o.id::text = t.id::text",
                f" CROSS JOIN LATERAL (SELECT count(*) AS n FROM {other} AS i WHERE i.subject_id = t.subject_id) AS o",
            ))  # fmt: skip
        where = f" WHERE {self._condition(table, deep)}" if chance.random() < 0.7 else ""
        roll = chance.random()
        if roll < 0.25:
            _, key = self._pick(table)
            _, name = self._pick(table)
            having = f" HAVING count(*) > {chance.randrange(3)}" if chance.random() < 0.3 else ""
            told = chance.choice(_AGGREGATES).format(f"t.{name}")
            return f"SELECT t.{key}, {told} FROM {source} AS t{joined}{where} GROUP BY t.{key}{having}"
        if roll < 0.35:
            _, name = self._pick(table)
            return f"SELECT t.id, {chance.choice(_WINDOWS).format(f't.{name}')} FROM {source} AS t{joined}{where}"
        told = ", ".join(self._expression(table) for _ in range(1 + chance.randrange(3)))
        return f"SELECT {told} FROM {source} AS t{joined}{where}"
