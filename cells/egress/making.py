"""One part of a release: pages read, treated and written into a file that has no name until it is durable."""

import hashlib
import os
from pathlib import Path
from typing import IO

from cells.egress.formats import writer
from cells.egress.manifest import PartFile
from cells.egress.ports import World
from cells.egress.reading import Page
from cells.egress.runs import HeldBatch, Journal, Part
from cells.egress.treating import Batch, Person, Treated, Treater
from foundation.ledger.files import sync_path
from foundation.words import ShardId

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
GROUNDS_MAX = 1_000


class Making:
    """One part under way."""

    def __init__(self, journal: Journal, treater: Treater, world: World, shard: ShardId, number: int) -> None:
        self._run = journal.run
        self._treater, self._world, self._shard, self._number = treater, world, shard, number
        self._path = self._run.staging / f"part-{number:05d}.{self._run.format.value}"
        self._people: dict[Person, None] = {}
        self._held: list[HeldBatch] = []
        self._stayed: dict[str, int] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._read = self._rows = 0

    async def made(self, after: tuple[str, str], part_rows: int) -> Part:
        partial = self._path.with_name(f".{self._path.name}")
        onward: tuple[str, str] | None = after
        with _opened(partial) as out:
            into = writer(self._run.format, self._treater.schema, out)
            while onward is not None and self._read < part_rows:
                page = await self._world.source.page(self._shard, onward)
                treated = self._treater.treat(await self._batch(page))
                self._take(page, treated)
                if treated.rows:
                    into.write(treated.columns)
                onward = page.after
            into.finish()
            out.flush()
            os.fsync(out.fileno())
        file = self._file(partial)
        return self._part(onward, file)

    async def _batch(self, page: Page) -> Batch:
        facts = await self._world.origins.facts(page.subjects)
        people = [
            None if (subject := facts.get(one)) is None else Person(subject, consent)
            for one, consent in zip(page.subjects, page.consents, strict=True)
        ]
        self._people |= {one: None for one in people if one is not None}
        return Batch(people, page.columns, page.drifted, page.unnamed * len(page.subjects))

    def _take(self, page: Page, treated: Treated) -> None:
        self._read += len(page.subjects)
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

    def _file(self, partial: Path) -> PartFile | None:
        if not self._rows:
            partial.unlink()
            return None
        size, sha256 = measured(partial)
        partial.replace(self._path)
        sync_path(self._path.parent)
        return PartFile(name=self._path.name, rows=self._rows, bytes=size, sha256=sha256)

    def _part(self, after: tuple[str, str] | None, file: PartFile | None) -> Part:
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


def measured(path: Path) -> tuple[int, str]:
    with path.open("rb") as read:
        return path.stat().st_size, hashlib.file_digest(read, "sha256").hexdigest()
