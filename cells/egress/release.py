"""A release: read, treated and written part by part, sealed, recorded, and given its name by one rename.

Parts and their journal are durable before the next begins, so a run that was killed goes on after the last of them and no row is in two.
Until the rename nothing lies under the release's name. The next run of the same request takes up what was not released.
"""

import datetime
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec

from cells.egress import manifest
from cells.egress.making import Making, measured
from cells.egress.ports import World
from cells.egress.reading import FIRST
from cells.egress.runs import PARTS, RELEASED, REPORT, SEALED, Journal, Part, discard, write_durably
from cells.egress.sealing import document_of, event_of, report
from cells.egress.treating import Treater
from foundation.ledger.files import sync_path

PART_ROWS = 50_000


class ReleaseRefused(Exception):
    """Nothing was released; the message says why and what to do."""


async def run(
    journal: Journal,
    treater: Treater,
    world: World,
    *,
    part_rows: int = PART_ROWS,
    told: Callable[[Part], None] = lambda _part: None,
) -> Path:
    """The released folder. Idempotent. Raises ReleaseRefused, OSError (a full disk among them), and what the world raises: call again."""
    stated = journal.run
    if journal.released:
        return stated.released
    if journal.sealed is None:
        stated.staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(stated.staging, journal.parts())
        async for part in _parts(journal, treater, world, part_rows):
            told(part)
        try:
            await _seal(journal, treater, world)
        except ReleaseRefused:
            discard(journal)  # what was read is no ground for another try: the next one reads anew
            raise
    return await _publish(journal, world)


async def _parts(journal: Journal, treater: Treater, world: World, part_rows: int) -> AsyncIterator[Part]:
    """What is not there yet, each durable with its line in the journal when it is yielded."""
    done = journal.parts()
    for shard in world.source.shards:
        own = [part for part in done if part.shard == shard]
        after: tuple[str, str] | None = own[-1].after if own else FIRST
        while after is not None:
            part = await Making(journal, treater, world, shard, len(done) + 1).made(after, part_rows)
            journal.add(part)
            done.append(part)
            after = part.after
            yield part


async def _seal(journal: Journal, treater: Treater, world: World) -> None:
    """The manifest over durable parts, and its signature; refused where the ground has changed since the run began."""
    stated, parts = journal.run, journal.parts()
    rules = await world.rules()
    if rules.digest != stated.rules:
        raise ReleaseRefused("the rules have changed since this run began; run it again, it begins anew")
    today = datetime.datetime.fromtimestamp(world.now(), datetime.UTC).date().isoformat()
    ended = [part.valid_until for part in parts if part.valid_until is not None and part.valid_until <= today]
    if ended:
        raise ReleaseRefused(f"what the law allowed held until {min(ended)}; run it again, it begins anew")
    if not any(part.rows for part in parts):
        grounds = sorted({ground for part in parts for ground in part.stayed})
        raise ReleaseRefused(f"no row may go: {'; '.join(grounds[:5]) or 'the table has none'}")
    raw = manifest.encoded(document_of(stated, parts, treater, rules, world.now()))
    write_durably(stated.staging / manifest.MANIFEST, raw)
    write_durably(stated.staging / manifest.SIGNATURE, manifest.signed(raw, stated.id, world.signer))
    journal.write(REPORT, msgspec.json.format(msgspec.json.encode(report(parts)), indent=1))
    journal.write(SEALED, msgspec.json.encode({"manifest": manifest.digest(raw)}))


async def _publish(journal: Journal, world: World) -> Path:
    """Recorded first, then named: a release that nobody recorded does not exist."""
    stated, sealed = journal.run, journal.sealed
    if not stated.released.exists():
        raw = (stated.staging / manifest.MANIFEST).read_bytes()
        if manifest.digest(raw) != sealed:
            raise ReleaseRefused(f"{stated.staging} is not what was sealed; begin anew with --discard")
        await world.ledger.record(event_of(stated, raw, world.actor))
        stated.staging.rename(stated.released)
        sync_path(stated.released.parent)
    journal.write(RELEASED, b"{}")
    (journal.folder / PARTS).unlink(missing_ok=True)
    return stated.released


def _sweep(staging: Path, parts: Sequence[Part]) -> None:
    """Removes what no line of the journal speaks of. Raises ReleaseRefused where a part that was durable is not what it was."""
    known = {part.file.name: part.file for part in parts if part.file is not None}
    for path in staging.iterdir():
        if path.name not in known:
            path.unlink() if path.is_file() else shutil.rmtree(path)
    for name, file in known.items():
        path = staging / name
        if not path.is_file() or measured(path) != (file.bytes, file.sha256):
            raise ReleaseRefused(f"{path} is not what was written; begin anew with --discard")
