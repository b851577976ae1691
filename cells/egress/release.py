"""A release: read, treated and written part by part, looked at again, sealed, recorded, put at its sink, and given its name.

Parts and their journal are durable before the next begins, so a run that was killed goes on after the last of them and no row is in two.
Just before it gets its name everybody in it is looked at again; parts of whoever is not to leave any more, or otherwise, are made anew.
Nothing leaves the cell before a manifest that names it is recorded. The next run of the same request takes up what was not released.
"""

import asyncio
import datetime
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import msgspec

from cells.egress import manifest
from cells.egress.making import Making
from cells.egress.ports import World
from cells.egress.reading import FIRST
from cells.egress.runs import (
    PARTS,
    PEOPLE,
    PUT,
    RELEASED,
    REPORT,
    SEALED,
    STAGING,
    Journal,
    Part,
    Sealed,
    discard,
    measured,
)
from cells.egress.sealing import document_of, event_of, report
from cells.egress.sinks.port import Sink, SinkFailed
from cells.egress.standing import stands
from cells.egress.treating import Treater
from foundation.ledger.files import write_durably
from foundation.words import ShardId

PART_ROWS = 50_000
GROUNDS_MAX = 5
"""So many grounds are said where no row may go."""
LOOKS_MAX = 100
"""How often parts are looked at again. Answers that change faster than parts can be made anew and put end a run, and release nothing."""


class ReleaseRefused(Exception):
    """Nothing was released; the message says why and what to do."""


async def run(
    journal: Journal,
    treater: Treater,
    world: World,
    sink: Sink,
    *,
    part_rows: int = PART_ROWS,
    told: Callable[[Part], None] = lambda _part: None,
) -> str:
    """Where the release is. Idempotent. Raises ReleaseRefused, SinkFailed, OSError (a full disk among them), and what the world raises:
    call again."""
    stated = journal.run
    if journal.released:
        return stated.place
    if not await asyncio.to_thread(sink.holds, stated.id):
        journal.staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(journal)
        async for part in _parts(journal, treater, world, part_rows):
            told(part)
        try:
            await _agreed(journal, treater, world, sink)
        except ReleaseRefused as exc:
            raise await _given_up(journal, sink, exc) from exc
        for name in (manifest.SIGNATURE, manifest.MANIFEST) if sink.puts else ():
            journal.note(name, False)
        await asyncio.to_thread(sink.publish, stated.id, journal.staging)
    journal.write(RELEASED, b"{}")
    _tidy(journal)
    return stated.place


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


async def _agreed(journal: Journal, treater: Treater, world: World, sink: Sink) -> None:
    """Returns when a look at everybody found nothing to change in what is sealed, recorded and lies at the sink."""
    for _ in range(LOOKS_MAX):
        begun = world.now()
        if await _looked(journal, treater, world):
            continue
        await _check_ground(journal, world)
        if not _sealed(journal):
            await _seal(journal, treater, world)
        await world.ledger.record(event_of(journal.run, _manifest(journal), world.actor))
        if not await _put(journal, world, sink):
            journal.write(REPORT, _report(journal, world.now() - begun))
            return
    raise ReleaseRefused(f"people's answers changed each of the {LOOKS_MAX} times that they were looked at again")


async def _looked(journal: Journal, treater: Treater, world: World) -> bool:
    """Whether a part had to be made anew, as somebody in it is not to leave any more, or otherwise: then others may have changed since."""
    changed = False
    for part in journal.parts():
        if await _stands(journal, part, world):
            continue
        made = await Making(journal, treater, world, ShardId(part.shard), part.number).anew(part)
        journal.add(made)
        changed = True
        if part.file is not None and part.file != made.file:
            (journal.staging / part.file.name).unlink(missing_ok=True)
    return changed


async def _stands(journal: Journal, part: Part, world: World) -> bool:
    return part.file is None or await stands(journal.people / part.file.name, ShardId(part.shard), world)


async def _put(journal: Journal, world: World, sink: Sink) -> bool:
    """Whether anything had to be: parts that are not there yet, each looked at once more, and those that are no part any more."""
    if not sink.puts:
        return False
    release, lies = journal.run.id, journal.put()
    parts = {part.file.name: part for part in journal.parts() if part.file is not None}
    for name in sorted(lies.keys() - parts.keys()):
        await asyncio.to_thread(sink.remove, release, name)
        journal.note(name, None)
    missing = [(name, part) for name, part in parts.items() if not lies.get(name)]
    for name, part in missing:
        if part.file is None or not await _stands(journal, part, world):
            break
        journal.note(name, False)
        await asyncio.to_thread(sink.put, release, journal.staging / name, part.file.sha256)
        journal.note(name, True)
    return bool(missing)


async def _check_ground(journal: Journal, world: World) -> None:
    """Raises ReleaseRefused where the ground has changed since the run began, or nothing is left to release."""
    stated, parts = journal.run, journal.parts()
    if (await world.rules()).digest != stated.rules:
        raise ReleaseRefused("the rules have changed since this run began; run it again, it begins anew")
    today = datetime.datetime.fromtimestamp(world.now(), datetime.UTC).date().isoformat()
    ended = [part.valid_until for part in parts if part.valid_until is not None and part.valid_until <= today]
    if ended:
        raise ReleaseRefused(f"what the law allowed held until {min(ended)}; run it again, it begins anew")
    if not any(part.rows for part in parts):
        stays = (*sorted({ground for part in parts for ground in part.stayed}), *_quarantine(parts))
        raise ReleaseRefused(f"no row may go: {'; '.join(stays[:GROUNDS_MAX]) or 'the table has none'}")


def _quarantine(parts: Sequence[Part]) -> Iterator[str]:
    """Batches that were held back, for the owner of the table: where each begins, and what was found in which field."""
    for one in (one for part in parts for one in part.held):
        found = ", ".join(f"{kind} in {field}" for field, kinds in one.found.items() for kind in kinds)
        yield f"{one.rows:,} rows of {one.shard} from {' '.join(one.first)} on are in quarantine: {found}"


async def _seal(journal: Journal, treater: Treater, world: World) -> None:
    """The manifest over durable parts, and its signature."""
    stated, before = journal.run, journal.sealed
    number = 1 if before is None else before.number + 1
    rules = await world.rules()
    raw = manifest.encoded(document_of(stated, journal.parts(), treater, rules, world.now(), number))
    write_durably(journal.staging / manifest.MANIFEST, raw)
    write_durably(journal.staging / manifest.SIGNATURE, manifest.signed(raw, stated.id, world.signer))
    sealed = Sealed(manifest=manifest.digest(raw), parts=_digest(journal), number=number)
    journal.write(SEALED, msgspec.json.encode(sealed))


def _sealed(journal: Journal) -> bool:
    """Whether what lies in staging was sealed last, and speaks of the parts as they are now: a run may have ended in between."""
    held = journal.sealed
    return held is not None and (held.manifest, held.parts) == (manifest.digest(_manifest(journal)), _digest(journal))


def _digest(journal: Journal) -> str:
    return manifest.digest(msgspec.json.encode(journal.parts()))


def _manifest(journal: Journal) -> bytes:
    path = journal.staging / manifest.MANIFEST
    return path.read_bytes() if path.exists() else b""


def _report(journal: Journal, looked_s: float) -> bytes:
    found = {**report(journal.parts()), "looked_s": round(looked_s, 1)}
    return msgspec.json.format(msgspec.json.encode(found), indent=1)


async def _given_up(journal: Journal, sink: Sink, why: ReleaseRefused) -> ReleaseRefused:
    """What was read is no ground for another try: the next one reads anew."""
    try:
        await discard(journal, sink)
    except SinkFailed as exc:
        return ReleaseRefused(
            f"{why}; parts without a manifest lie at {journal.run.place} until it is run again: {exc}"
        )
    return why


def _sweep(journal: Journal) -> None:
    """Removes what no line of the journal speaks of. Raises ReleaseRefused where a part that was durable is not what it was."""
    known = {part.file.name: part.file for part in journal.parts() if part.file is not None}
    kept = {*known, manifest.MANIFEST, manifest.SIGNATURE}
    for path in journal.staging.iterdir():
        if path.name not in kept:
            path.unlink() if path.is_file() else shutil.rmtree(path)
    for name, file in known.items():
        path = journal.staging / name
        if not path.is_file() or measured(path) != (file.bytes, file.sha256) or not (journal.people / name).is_file():
            raise ReleaseRefused(f"{path} is not what was written; begin anew with --discard")


def _tidy(journal: Journal) -> None:
    """What only the way to the release needed, keys of its rows among it."""
    for name in (PARTS, PUT):
        (journal.folder / name).unlink(missing_ok=True)
    for name in (PEOPLE, STAGING):
        shutil.rmtree(journal.folder / name, ignore_errors=True)
