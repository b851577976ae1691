"""Reads whose like came before: what a strict reading made of the same fields, and of a query of the same shape, is taken again. Pure.

A gateway says the same with every read but for the decision, the trace, the client's address and the values that are compared with.
Those are cut out, and what is left is looked up by its bytes. What is kept is nobody's: of fields only those of `_KEPT`, of a query its
names, operators, order and page; and all is forgotten after `KEPT_S`. Anything else (another field, `%` or `+`, a tree of filters) is
read anew each time.
"""

import re
from typing import TypeAlias

import msgspec

from cells.records.asking import Asked
from cells.records.contracts import Contract
from cells.records.core import Bound, Grant
from cells.records.dialect import GROUPS, ONCE, PARAMETERS_MAX
from cells.records.media import Media
from cells.records.preferences import Preferences
from cells.records.query import Condition, Query
from cells.records.ranges import Page
from cells.records.statements import Statement
from cells.records.texts import KnownAs, is_long
from foundation.wire.head import FIELDS_MAX, Fields
from foundation.words import RECORDS, ActorId

HEADS_MAX = 1_024
HEAD_BYTES_MAX = 8_192
"""Longer ones are read anew."""
PLANS_MAX = 4_096
QUERY_BYTES_MAX = 2_048
PAGED = 2
"""Arguments of a page."""
KEPT_S = 300.0
"""With the next read all are forgotten, whether or not they are asked for."""

_LINE = re.compile(rb"GET /records/([A-Za-z][A-Za-z0-9_]*+)(?:\?([!\"$&-*,-~]*+))? HTTP/1\.1(?=\r\n)")
"""A read's first line; its query without `%`, `+` or a fragment."""
_DECISION = b"\r\ndomicile-decision: "
_OWN = re.compile(
    rb"([A-Za-z0-9._-]++)(?=\r\n)"
    rb"(?:\r\ntraceparent: [0-9a-f-]{55}(?=\r))?+"
    rb"(?:\r\nx-forwarded-for: [0-9A-Za-z.:,\[\]-](?:[0-9A-Za-z.:, \[\]-]*[0-9A-Za-z.:,\[\]-])?(?=\r))?+"
)
"""A decision, and what stands behind it and is each read's own, as a gateway writes it."""
CUT_MAX = 3
_KEPT = frozenset(
    {b"accept", b"accept-charset", b"accept-encoding", b"accept-language", b"accept-profile", b"cache-control", b"dnt", b"host", b"origin",
     b"pragma", b"prefer", b"priority", b"sec-ch-ua", b"sec-ch-ua-mobile", b"sec-ch-ua-platform", b"sec-fetch-dest", b"sec-fetch-mode",
     b"sec-fetch-site", b"sec-fetch-user", b"sec-gpc", b"upgrade-insecure-requests", b"user-agent", b"via", b"x-forwarded-host",
     b"x-forwarded-proto", b"x-requested-with"}
)  # fmt: skip
_NO_COLUMNS = ONCE | GROUPS.keys()
_COMPARED = re.compile(r"([A-Za-z][A-Za-z0-9_]{0,62}=(?:eq|neq|gte?|lte?)\.)(.*)")

Shape: TypeAlias = tuple[str, ...]
"""A query's parameters: of a plain comparison all but its operand, of the others all."""


class Came(msgspec.Struct, frozen=True, gc=False):
    """A whole read, taken apart. `fields`: all but its own, as they came before its decision and after."""

    table: bytes
    query: bytes
    decision: bytes
    fields: tuple[bytes, bytes]
    sent: bytes


def came(data: bytes) -> Came | None:
    """What arrived, if it is one whole read of the usual form, else None: then it is to be read as any other.

    Of its fields only those that are its own are looked at here. Each is one line that began and ended where a line does, so with it or
    without it the rest is well formed, or is not, which is known of fields that came before.
    """
    line = _LINE.match(data)
    size = len(data)
    if line is None or size > HEAD_BYTES_MAX:
        return None
    start = line.end()
    decided = data.find(_DECISION, start)
    if decided < 0 or data.find(b"\r\n\r\n", start) != size - 4:
        return None
    own = _OWN.match(data, decided + len(_DECISION))
    if own is None:
        return None
    table, query = line.groups()
    return Came(table, query or b"", own[1], (data[start:decided], data[own.end() :]), data)


def apart(query: bytes) -> tuple[Shape, list[str]] | None:
    """The shape of a query without `%` and `+`, and what is compared with, in its order; None for one that is not remembered."""
    if len(query) > QUERY_BYTES_MAX or query.count(b"&") >= PARAMETERS_MAX:
        return None
    shape: list[str] = []
    operands: list[str] = []
    for part in query.decode("ascii").split("&"):
        compared = _COMPARED.fullmatch(part)
        if compared is None or part.partition("=")[0] in _NO_COLUMNS:
            shape.append(part)
        else:
            shape.append(compared[1])
            operands.append(compared[2])
    return tuple(shape), operands


class Plan(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What reads of one shape, asked for by persons for themselves, have in common. `query`: without its filters, which `compared` are,
    without what they compare with; `paged`: the arguments that follow that."""

    contract: Contract
    known_as: KnownAs
    granted: Grant
    owner_only: bool
    query: Query
    compared: tuple[Condition, ...]
    page: Page
    preferences: Preferences
    media: Media
    sql: str
    paged: tuple[str | int | list[str], ...]

    def query_of(self, operands: list[str]) -> Query:
        """With what is compared with this time."""
        held = self.query
        if not operands:
            return held
        where = []
        for one, operand in zip(self.compared, operands, strict=True):
            where.append(Condition(path=one.path, operator=one.operator, values=(operand,)))
        return Query(
            select=held.select,
            where=tuple(where),
            order=held.order,
            limit=held.limit,
            offset=held.offset,
            columns=held.columns,
            conflict=held.conflict,
        )


class Familiar:
    """What is known of reads. One per cell service; times are seconds on one clock."""

    def __init__(self) -> None:
        self._heads: dict[tuple[bytes, bytes], int] = {}
        """Numbers of fields that are known; none is given twice."""
        self._numbers = 0
        self._plans: dict[tuple[int, bytes, Shape, str], Plan] = {}
        self._until_s = 0.0

    def __len__(self) -> int:
        return len(self._plans)

    def head_of(self, one: Came, now_s: float) -> int | None:
        """Under which number its fields are known."""
        if now_s > self._until_s:
            self._forget()
            self._until_s = now_s + KEPT_S
        return self._heads.get(one.fields)

    def plan_of(self, head: int, one: Came, shape: Shape, purpose: str) -> Plan | None:
        return self._plans.get((head, one.table, shape, purpose))

    def learn(self, one: Came, fields: Fields, asked: Asked, statement: Statement) -> None:
        """What a strict reading of the same read made of it: its `fields`, what it asks for, and the statement that answers it."""
        decision, query = asked.decision, asked.query
        if decision.service != RECORDS or decision.actor != ActorId(decision.subject or "") or is_long(query):
            return
        found, head = apart(one.query), self._heads.get(one.fields) or self._numbered(one, fields)
        if found is None or head is None:
            return
        shape, operands = found
        compared = tuple(_without_operand(term) for term in query.where if isinstance(term, Condition))
        first = arguments(asked.bound, operands)
        paged = statement.arguments[len(first) :]
        if len(query.where) != len(operands) or statement.arguments[: len(first)] != first or len(paged) != PAGED:
            return  # what it compares with stands elsewhere too
        if len(self._plans) >= PLANS_MAX:
            self._plans.clear()
        self._plans[head, one.table, shape, decision.purpose] = Plan(
            contract=asked.contract,
            known_as=asked.known_as,
            granted=asked.granted,
            owner_only=asked.bound.owner_only,
            query=msgspec.structs.replace(query, where=()),
            compared=compared,
            page=asked.page,
            preferences=asked.preferences,
            media=asked.media,
            sql=statement.sql,
            paged=paged,
        )

    def _numbered(self, one: Came, fields: Fields) -> int | None:
        """None where there is more in its fields than may be kept."""
        before, after = one.fields
        kept = {line.partition(b":")[0].lower() for line in (before + after).split(b"\r\n") if line}
        if len(fields) > FIELDS_MAX - CUT_MAX or not kept <= _KEPT:
            return None
        if len(self._heads) >= HEADS_MAX:
            self._forget()
        self._numbers += 1
        self._heads[one.fields] = self._numbers
        return self._numbers

    def _forget(self) -> None:
        self._heads.clear()
        self._plans.clear()


def arguments(bound: Bound, operands: list[str]) -> tuple[str | int, ...]:
    """The arguments of a read up to its page, in their order (`cells.records.texts`)."""
    if bound.owner_only:
        return (bound.subject, bound.epoch, str(bound.owner), *operands)
    return (bound.subject, bound.epoch, *operands)


def _without_operand(term: Condition) -> Condition:
    return Condition(path=term.path, operator=term.operator, values=())
