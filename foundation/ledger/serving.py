"""The files of a log over HTTP, as C2SP tlog-tiles asks: the signed checkpoint, tiles and bundles of entries; and what each quorum of
witnesses has cosigned last. No other file."""

import asyncio
from pathlib import Path

from starlette.responses import Response

from foundation.ledger.log import CHECKPOINT
from foundation.ledger.tiles import MalformedTile, parse
from foundation.ledger.witness.quorum import Reach
from foundation.problems import Code, refuse

CHECKPOINT_PATH = "/ledger/checkpoint"
COSIGNED_PATH = "/ledger/cosigned/{quorum}"
TILE_PATH = "/ledger/tile/{path}"
TILE_TYPE = "application/octet-stream"
CHECKPOINT_TYPE = "text/plain; charset=utf-8"
_FOR_EVER = "private, max-age=604800, immutable"


async def checkpoint(folder: Path | None) -> Response:
    """`folder` is None where the process keeps no log. Raises ProblemError."""
    return _note(await _read(folder, CHECKPOINT))


async def cosigned(folder: Path | None, quorum: str) -> Response:
    """`quorum`: near or wide. Raises ProblemError."""
    if quorum not in frozenset(Reach):
        raise refuse(Code.NOT_FOUND, f"the quorums are {' and '.join(Reach)}")
    return _note(await _read(folder, Reach(quorum).file))


async def tile(folder: Path | None, path: str) -> Response:
    """`path` is what comes after `tile/`. Raises ProblemError."""
    try:
        name = parse(f"tile/{path}").path
    except MalformedTile as exc:
        raise refuse(Code.NOT_FOUND, str(exc)) from exc
    return Response(await _read(folder, name), media_type=TILE_TYPE, headers={"cache-control": _FOR_EVER})


def _note(raw: bytes) -> Response:
    return Response(raw, media_type=CHECKPOINT_TYPE, headers={"cache-control": "no-store"})


async def _read(folder: Path | None, name: str) -> bytes:
    if folder is None:
        raise refuse(Code.NOT_FOUND, "this process keeps no log")
    try:
        return await asyncio.to_thread((folder / name).read_bytes)
    except FileNotFoundError as exc:
        raise refuse(Code.NOT_FOUND, "this log has no such file") from exc
    except OSError as exc:
        raise refuse(Code.NOT_READY, "the log cannot be read just now", retry_after_s=1) from exc
