"""Rows by their number, so that a million of them need no memory. What may not leave holds a planted value; in every second page one
field that is kept does, too."""

import datetime
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from cells.egress.reading import LAST, Page, Standing
from cells.records.contracts import Contract
from foundation.words import ShardId, SubjectId
from routing_rules.release import Consent
from tests.leaktest.planting import Planted
from tests.stands.egress import PEOPLE, people

SHARD = ShardId("s1")
NOTES_EACH = 40
"""One row of so many has free text: it is redacted value by value."""
ROGUE = "rogue"
"""A column, and a member, that no contract names."""


def contract() -> Contract:
    """The contract of tests with every treatment, and what is kept as it is: by the word of the contract nothing personal stands there."""
    kept = """
  mark:       {type: bigint, class: none, leaving: {default: keep}}
  words:      {type: "text[]", class: none, leaving: {default: keep}}
"""
    return people(PEOPLE.rstrip("\n") + kept)


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """`first`: from where in the pool kept fields are planted."""

    pool: Sequence[Planted]
    count: int
    page_rows: int
    first: int = 0

    def dirty(self, number: int) -> bool:
        """Whether the row has a planted value in a field that is kept: one row of every second page."""
        page, place = divmod(number, self.page_rows)
        return page % 2 == 1 and place == page * 7 % self.page_rows

    @property
    def clean_rows(self) -> int:
        """Rows of pages in which nothing is found, if all goes well."""
        return sum(min(self.page_rows, self.count - low) for low in range(0, self.count, 2 * self.page_rows))

    def planted(self, number: int) -> Planted:
        """What stands in the row."""
        index = self.first + number // self.page_rows // 2 if self.dirty(number) else number
        return self.pool[index % len(self.pool)]

    def row(self, number: int) -> dict[str, Any]:
        """As a database, or a product service, has it."""
        told = self.planted(number).encoded
        kept = [f"item {number}", "dark", "plain"]
        if self.dirty(number):
            kept[number // self.page_rows // 2 % 3] = told
        item, theme, word = kept
        extra = {"theme": theme, "mail": told, "tries": [1, told, 3], ROGUE: told, told: told}
        return {
            "subject_id": uuid.UUID(int=number + 1),
            "id": uuid.UUID(int=number + 1),
            "item": item,
            "email": told,
            "phone": told,
            "address": told,
            "name": told,
            "born": told,
            "postcode": told,
            "seen": told if number % 2 else datetime.datetime(2026, 4, 3, 12, 30, tzinfo=datetime.UTC),
            "place": told,
            "tier": told,
            "total": told,
            "score": told,
            "note": told if number % NOTES_EACH == 0 else None,
            "illness": told,
            "card": told,
            "extra": extra,
            "shadow": told,
            "mark": number,
            "words": ["small", word],
            ROGUE: told,
        }

    def pages(self) -> Iterator[list[dict[str, Any]]]:
        for low in range(0, self.count, self.page_rows):
            yield [self.row(number) for number in range(low, min(low + self.page_rows, self.count))]


class Source:
    """The rows as a table of one shard."""

    def __init__(self, rows: Rows) -> None:
        self.shards: Sequence[ShardId] = (SHARD,)
        self._rows = rows

    async def page(self, _shard: ShardId, after: tuple[str, str], until: tuple[str, str] = LAST) -> Page:
        low = uuid.UUID(after[1]).int
        end = min(uuid.UUID(until[1]).int, self._rows.count)
        high = min(low + self._rows.page_rows, end)
        held = [self._rows.row(number) for number in range(low, high)]
        columns = {name: [one[name] for one in held] for name in (held[0] if held else {})}
        columns["extra"] = [msgspec.json.encode(one).decode() for one in columns.get("extra", ())]
        keys = [str(uuid.UUID(int=number + 1)) for number in range(low, high)]
        return Page(
            subjects=[SubjectId(key) for key in keys],
            consents=[Consent.UNSAID] * len(keys),
            columns=columns,
            drifted=(),
            unnamed=1,
            first=(keys[0], keys[0]) if keys else None,
            last=(keys[-1], keys[-1]) if keys else None,
            after=(keys[-1], keys[-1]) if high < end else None,
            owners=keys,
        )

    async def standing(self, _shard: ShardId, subjects: Sequence[SubjectId], owners: Sequence[str]) -> Standing:
        return Standing(frozenset(subjects), dict.fromkeys(owners, Consent.UNSAID))
