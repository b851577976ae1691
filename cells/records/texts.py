"""Texts of reads, remembered by their shape: what a caller writes stands in arguments, so two reads of one shape have one text."""

from typing import TypeAlias

from cells.records.core import Bound
from cells.records.query import Condition, Operator, Order, Query, Selected
from cells.records.ranges import Page
from cells.records.statements import Builder, Statement
from foundation.words import ServiceId

TEXTS_MAX = 4_096
"""Remembered, a kilobyte or two each."""
ITEMS_MAX = 64
"""Of a shape that is remembered: columns, orders and filters. A person may ask for ever other ones of many hundreds."""

KnownAs: TypeAlias = tuple[str, ServiceId, str]
"""Table, audience and purpose: what a grant follows from."""


class Texts:
    """Of one cell's contracts. A shape that was refused is not remembered, so one that is known is granted."""

    def __init__(self) -> None:
        self._held: dict[object, str] = {}

    def read(self, known_as: KnownAs, builder: Builder, query: Query, page: Page, *, counted: bool) -> Statement:
        """What `builder.read` makes, for the grant that is `known_as` this. Raises ProblemError as that does."""
        shape = _shape(query)
        if shape is None:
            return builder.read(query, page, counted=counted)
        named = known_as, counted, builder.row, builder.bound.owner_only, shape
        sql = self._held.get(named)
        if sql is not None:
            return Statement(sql, _arguments(builder.bound, query, page))
        made = builder.read(query, page, counted=counted)
        if len(self._held) >= TEXTS_MAX:
            self._held.clear()
        self._held[named] = made.sql
        return made


def is_long(query: Query) -> bool:
    """Whether nothing of its shape is to be remembered."""
    return len(query.select) + len(query.order) + len(query.where) > ITEMS_MAX


def _shape(query: Query) -> tuple[object, ...] | None:
    """All of a query that its text depends on, where its only arguments are the operands of filters and the page."""
    if is_long(query):
        return None
    filters: list[object] = []
    for term in query.where:
        if not isinstance(term, Condition) or term.path.steps or term.operator is Operator.IS:
            return None
        filters.append((term.path.column, term.operator, term.negated, term.quantifier))
    for one in (*query.select, *query.order):
        if isinstance(one, Selected | Order) and one.path.steps:
            return None
    return query.select, query.order, query.columns, query.conflict, tuple(filters)


def _arguments(bound: Bound, query: Query, page: Page) -> tuple[str | int | list[str], ...]:
    """In the order in which `Builder.read` meets them."""
    found: list[str | int | list[str]] = [bound.subject, bound.epoch]
    if bound.owner_only:
        found.append(str(bound.owner))
    found += [
        list(term.values) if term.operator is Operator.IN else term.values[0]
        for term in query.where
        if isinstance(term, Condition)
    ]
    found += [str(page.limit), str(page.offset)]
    return tuple(found)
