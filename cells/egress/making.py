"""One part of a release: pages read, treated and written into a file that has no name until it is durable."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import msgspec

from cells.egress.formats import Writer, writer
from cells.egress.manifest import PartFile
from cells.egress.ports import World
from cells.egress.reading import LAST, Page
from cells.egress.runs import HeldBatch, Journal, Part, measured
from cells.egress.standing import People
from cells.egress.treating import Batch, Nobody, Person, Treated, Treater, Whose
from foundation.ledger.files import sync_path
from foundation.words import ShardId
from routing_rules.facts import SubjectFacts
from routing_rules.release import Consent

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
GROUNDS_MAX = 1_000
PART_BYTES_MAX = 128 << 20
"""A part ends with the page that takes it beyond this, however few its rows."""


class Making:
    """One part under way."""

    def __init__(self, journal: Journal, treater: Treater, world: World, shard: ShardId, number: int) -> None:
        self._run = journal.run
        self._folder, self._keep = journal.staging, journal.people
        self._treater, self._world, self._shard, self._number = treater, world, shard, number
        self._people: dict[Person, None] = {}
        self._held: list[HeldBatch] = []
        self._stayed: dict[str, int] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._read = self._rows = 0
        self._last: tuple[str, str] | None = None

    async def made(self, after: tuple[str, str], part_rows: int) -> Part:
        """The rows beyond a key. Raises OSError, what the world raises."""
        return await self._made(after, LAST, part_rows, PART_BYTES_MAX)

    async def anew(self, part: Part) -> Part:
        """The rows of a part as they may go now; the part keeps its place. Raises as `made`."""
        made = await self._made(part.begun, part.last or part.begun, sys.maxsize, sys.maxsize)
        return msgspec.structs.replace(made, last=part.last, after=part.after)

    async def _made(self, after: tuple[str, str], until: tuple[str, str], rows_max: int, bytes_max: int) -> Part:
        partial = self._folder / f".part-{self._number:05d}"
        onward: tuple[str, str] | None = after
        with ExitStack() as stack:
            out = stack.enter_context(_opened(partial))
            people = stack.enter_context(People(self._keep / partial.name))
            into = writer(self._run.format, self._treater.schema, out)
            while onward is not None and self._read < rows_max and out.tell() < bytes_max:
                onward = await self._one(onward, until, into, people)
            into.finish()
            out.flush()
            os.fsync(out.fileno())
            file = self._file(partial, people)
        return self._part(after, onward, file)

    async def _one(
        self, after: tuple[str, str], until: tuple[str, str], into: Writer, whose: People
    ) -> tuple[str, str] | None:
        """One page; gives the key to go on from. Nothing of it is held when the next is read."""
        page = await self._world.source.page(self._shard, after, until)
        people = await self._asked(page)
        treated = self._treater.treat(Batch(people, page.columns, page.drifted, page.unnamed * len(people)))
        page = msgspec.structs.replace(page, columns={})  # what was read is not held while what leaves of it is written
        self._take(page, treated)
        if treated.rows:
            into.write(treated.columns)
            whose.note(
                page, [one if isinstance(one, Person) and self._treater.plan_of(one).goes else None for one in people]
            )
        return page.after

    async def _asked(self, page: Page) -> list[Whose]:
        """Of each row, by whose law it goes."""
        facts = await self._world.origins.facts(page.subjects)
        stated = zip(page.subjects, page.owners, page.consents, strict=True)
        people = [_whose(facts.get(one), owner, consent) for one, owner, consent in stated]
        self._people |= {one: None for one in people if isinstance(one, Person)}
        return people

    def _take(self, page: Page, treated: Treated) -> None:
        self._read += len(page.subjects)
        self._last = page.last or self._last
        self._rows += treated.rows
        for ground, count in treated.stayed.items():
            self._stayed[ground] = self._stayed.get(ground, 0) + count
        for field, fates in treated.counts.items():
            own = self._counts.setdefault(field, {})
            for fate, count in fates.items():
                own[fate] = own.get(fate, 0) + count
        if treated.held and page.first is not None:
            found: dict[str, dict[str, int]] = {}
            for one in treated.held:
                found.setdefault(one.field, {})[one.kind] = one.count
            rows = len(page.subjects) - sum(treated.stayed.values())
            self._held.append(HeldBatch(shard=self._shard, first=page.first, rows=rows, found=found))

    def _file(self, partial: Path, people: People) -> PartFile | None:
        """Under a name that follows from its content: whoever sees the name twice has seen the same."""
        if not self._rows:
            partial.unlink()
            return None
        size, sha256 = measured(partial)
        name = f"part-{self._number:05d}-{sha256[:16]}.{self._run.format.value}"
        people.keep(self._keep / name)
        partial.replace(self._folder / name)
        for folder in (self._keep, self._folder):
            sync_path(folder)
        return PartFile(name=name, rows=self._rows, bytes=size, sha256=sha256)

    def _part(self, begun: tuple[str, str], after: tuple[str, str] | None, file: PartFile | None) -> Part:
        plans = [self._treater.plan_of(one) for one in self._people]
        went = [one for one in plans if one.goes]
        days = [one.valid_until for one in plans if one.valid_until is not None]
        treatments: dict[str, dict[str, bool]] = {}
        for field in (field for one in went for field in one.fields if field.leaves):
            treatments.setdefault(field.name, {})[str(field.treatment)] = field.masking
        return Part(
            number=self._number,
            shard=self._shard,
            file=file,
            begun=begun,
            last=self._last,
            after=after,
            read=self._read,
            rows=self._rows,
            stayed=self._stayed,
            counts=self._counts,
            held=tuple(self._held),
            grounds=tuple(dict.fromkeys(reason for one in went for reason in (one.ground, *one.reasons)))[:GROUNDS_MAX],
            duties=tuple(dict.fromkeys(owed for one in went for owed in one.owed)),
            treatments=treatments,
            unmade={name: why for one in self._people for name, why in self._treater.unmade(one).items()},
            valid_until=min(days).isoformat() if days else None,
        )


def _opened(path: Path) -> IO[bytes]:
    """A new file that its owner alone may read."""
    return os.fdopen(os.open(path, _FLAGS, 0o600), "wb")


def _whose(facts: SubjectFacts | None, owner: str | None, consent: Consent) -> Whose:
    if facts is None:
        return None
    return Nobody.UNOWNED if owner is None else Person(facts, consent)
