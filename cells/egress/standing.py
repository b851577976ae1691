"""Whose rows went into a part, and whether what decided about them still holds: their state, their law, what they say to the purpose.

Beside each part that is durable lies a file of the journal, a line for each page that was read: subject, owner and a fingerprint of what
was known of them. It names people, so it stays in the cell.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import msgspec

from cells.egress.ports import World
from cells.egress.reading import Page
from cells.egress.treating import Person
from foundation.words import ShardId, SubjectId
from routing_rules.release import Consent

Row: TypeAlias = tuple[SubjectId, str | None, str]
"""Subject, owner, fingerprint."""
_decoder = msgspec.json.Decoder(list[Row])


def fingerprint(person: Person) -> str:
    """Of all that decides what becomes of their rows."""
    return hashlib.blake2b(msgspec.json.encode(person), digest_size=8).hexdigest()


class People:
    """Writes down whose rows went; a file for a part that is being made."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._path = path
        self._out = path.open("wb")
        self._prints: dict[Person, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._out.close()

    def note(self, page: Page, people: Sequence[Person | None]) -> None:
        """`people`: of each row of the page, None where it stayed."""
        went: dict[Row, None] = {}
        for subject, owner, person in zip(page.subjects, page.owners, people, strict=True):
            if person is not None:
                went[subject, owner, self._print(person)] = None
        if went:
            self._out.write(msgspec.json.encode(list(went)) + b"\n")

    def _print(self, person: Person) -> str:
        held = self._prints.get(person)
        if held is None:
            held = self._prints[person] = fingerprint(person)
        return held

    def keep(self, name: Path) -> None:
        """Durable under this name when it returns."""
        self._out.flush()
        os.fsync(self._out.fileno())
        self._path.replace(name)


async def stands(path: Path, shard: ShardId, world: World) -> bool:
    """Whether everybody whose rows went into a part would be decided about now as then. Memory is bounded by a page. Raises OSError,
    what the world raises."""
    prints: dict[Person, str] = {}
    with path.open("rb") as lines:
        for line in lines:
            if not await _stand(_decoder.decode(line), shard, world, prints):
                return False
    return True


async def _stand(rows: Sequence[Row], shard: ShardId, world: World, prints: dict[Person, str]) -> bool:
    subjects = list(dict.fromkeys(subject for subject, _, _ in rows))
    owners = list(dict.fromkeys(owner for _, owner, _ in rows if owner is not None))
    facts = await world.origins.facts(subjects)
    now = await world.source.standing(shard, subjects, owners)
    for subject, owner, before in rows:
        known = facts.get(subject)
        if known is None or subject not in now.active:
            return False
        person = Person(known, Consent.UNSAID if owner is None else now.consents.get(owner, Consent.UNSAID))
        if person not in prints:
            prints[person] = fingerprint(person)
        if prints[person] != before:
            return False
    return True
