"""A log over HTTP: its files as C2SP tlog-tiles asks (the signed checkpoint, tiles, bundles of entries), what each quorum of witnesses has
cosigned last (no other file), readings that somebody states, and erasing by subject."""

import asyncio
import gzip
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from foundation.http import json_response
from foundation.ledger.checkpoints import CHECKPOINT
from foundation.ledger.erasing import Job
from foundation.ledger.keeping import Keeping
from foundation.ledger.reading import Absent, of_folder
from foundation.ledger.tiles import ENTRIES, WIDTH, MalformedTile, Tile, first_of, parse
from foundation.ledger.witness.quorum import Reach
from foundation.problems import Code, refuse
from foundation.words import parse_subject_id

CHECKPOINT_PATH = "/ledger/checkpoint"
COSIGNED_PATH = "/ledger/cosigned/{quorum}"
TILE_PATH = "/ledger/tile/{path}"
READS_PATH = "/ledger/reads"
ERASURES_PATH = "/ledger/erasures"
ERASURE_PATH = "/ledger/erasures/{job}"
TILE_TYPE = "application/octet-stream"
CHECKPOINT_TYPE = "text/plain; charset=utf-8"
ERASE_S_MAX = 5.0
"""Longest wait of one call for an erasure to end; it goes on by itself."""
_FOR_EVER = "private, max-age=604800, immutable"
_NO_WEIGHT = re.compile(r"q=0(\.0{0,3})?")
_PACKED_LEVEL = 1
"""Hashes pack no better at a higher one."""


class ReadStated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reading of the log's own folder: `count` entries from `first` on; `payloads`: with what they commit to."""

    command: Literal["show", "prove", "verify", "export", "replay"]
    first: Annotated[int, Meta(ge=0, lt=1 << 53)]
    count: Annotated[int, Meta(ge=0, lt=1 << 53)]
    payloads: bool


class ReadNoted(msgspec.Struct, frozen=True, kw_only=True):
    """`recorded`: durably, on its way into the log."""

    recorded: bool


class ErasureRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    subject_id: Annotated[str, Meta(max_length=36)]


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """`erased`: payloads that were overwritten, `through`: among the entries below it; both null until it is done."""

    id: str
    done: bool
    erased: int | None
    through: int | None


async def checkpoint(kept: Keeping | None) -> Response:
    """`kept` is None where the process keeps no log. Raises ProblemError."""
    return _note(await _read(_of(kept).folder, CHECKPOINT))


async def cosigned(kept: Keeping | None, quorum: str) -> Response:
    """`quorum`: near or wide. Raises ProblemError."""
    if quorum not in frozenset(Reach):
        raise refuse(Code.NOT_FOUND, f"the quorums are {' and '.join(Reach)}")
    return _note(await _read(_of(kept).folder, Reach(quorum).file))


async def tile(kept: Keeping | None, path: str, actor: str, accepts: str) -> Response:
    """`path` is what comes after `tile/`, `accepts` an Accept-Encoding. Entries are given out once it is recorded who reads them, and
    packed for whoever takes gzip. Raises ProblemError."""
    try:
        asked = parse(f"tile/{path}")
    except MalformedTile as exc:
        raise refuse(Code.NOT_FOUND, str(exc)) from exc
    log, headers = _of(kept), {"cache-control": _FOR_EVER}
    if asked.level != ENTRIES:
        raw = await _held(lambda: tile_in(log.folder, asked))
        return Response(raw, media_type=TILE_TYPE, headers=headers)
    packed = takes_gzip(accepts)
    raw = await _held(lambda: _as_asked(tile_in(log.folder, asked), packed=packed))
    await log.reads.note(actor, asked.path)
    headers |= {"vary": "accept-encoding", **({"content-encoding": "gzip"} if packed else {})}
    return Response(raw, media_type=TILE_TYPE, headers=headers)


def takes_gzip(accepts: str) -> bool:
    """Whether an Accept-Encoding (RFC 9110 section 12.5.3) asks for it; one that is not there does not."""
    codings = [one.partition(";") for one in accepts.lower().split(",")]
    weights = {name.strip(): "".join(weight.split()) for name, _, weight in codings}
    weight = weights.get("gzip", weights.get("*"))
    return weight is not None and _NO_WEIGHT.fullmatch(weight) is None


def _as_asked(raw: bytes, *, packed: bool) -> bytes:
    return gzip.compress(raw, _PACKED_LEVEL, mtime=0) if packed else raw


async def state_read(kept: Keeping | None, stated: ReadStated, actor: str) -> Response:
    """201 once the reading is recorded. Raises ProblemError."""
    await _of(kept).reads.once(actor, msgspec.to_builtins(stated))
    return json_response(ReadNoted(recorded=True), 201)


async def erase(kept: Keeping | None, asked: ErasureRequest, actor: str) -> Response:
    """200 with what was erased, 202 while it goes on; the same job for whoever asks again before it begins. Raises ProblemError,
    MalformedWord."""
    eraser = _of(kept).eraser
    job = await eraser.ask(parse_subject_id(asked.subject_id), actor)
    return _told(job.id, await eraser.wait(job.id, ERASE_S_MAX))


async def erasure(kept: Keeping | None, job_id: str) -> Response:
    """200 or 202 as `erase`; 404 for one that this process knows nothing of (any more). Raises ProblemError."""
    eraser = _of(kept).eraser
    if not await eraser.known(job_id):
        raise refuse(Code.NOT_FOUND, "this process knows of no such erasure; what was done stands in the log")
    return _told(job_id, await eraser.wait(job_id, ERASE_S_MAX))


def _told(job_id: str, done: Job | None) -> Response:
    if done is None:
        return json_response(Erasure(id=job_id, done=False, erased=None, through=None), 202)
    return json_response(Erasure(id=job_id, done=True, erased=done.erased, through=done.through))


def _of(kept: Keeping | None) -> Keeping:
    if kept is None:
        raise refuse(Code.NOT_FOUND, "this process keeps no log")
    return kept


def _note(raw: bytes) -> Response:
    return Response(raw, media_type=CHECKPOINT_TYPE, headers={"cache-control": "no-store"})


async def _read(folder: Path, name: str) -> bytes:
    return await _held(lambda: of_folder(folder)(name))


async def _held(read: Callable[[], bytes]) -> bytes:
    try:
        return await asyncio.to_thread(read)
    except Absent as exc:
        raise refuse(Code.NOT_FOUND, "this log has no such file") from exc
    except OSError as exc:
        raise refuse(Code.NOT_READY, "the log cannot be read just now", retry_after_s=1) from exc


def tile_in(folder: Path, asked: Tile) -> bytes:
    """A tile as it lies there; a partial one that is gone or not whole, as a power cut may leave those of earlier checkpoints, out of a
    wider one. Raises Absent, OSError."""
    for width in _widths(folder, asked):
        with suppress(FileNotFoundError, MalformedTile):
            return first_of(asked.level, (folder / asked._replace(width=width).path).read_bytes(), asked.width)
    raise Absent(asked.path)


def _widths(folder: Path, asked: Tile) -> Iterator[int]:
    yield asked.width
    if asked.width < WIDTH:
        beside = (folder / asked.path).parent
        yield from sorted(int(path.name) for path in beside.glob("*[0-9]") if int(path.name) > asked.width)
        yield WIDTH
