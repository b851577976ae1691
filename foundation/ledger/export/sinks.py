"""Where lines go: a file, or an HTTP collector. Each takes a batch or says that it has not, and may then have it twice, never lack it."""

import asyncio
import contextlib
import os
import re
import threading
from pathlib import Path
from typing import Protocol

import httpx

from foundation.http import HttpClient
from foundation.ledger.export import position
from foundation.ledger.export.position import Position, SinkRefused
from foundation.ledger.export.taking import Batch
from foundation.ledger.files import sync_path
from foundation.settings import SettingsError
from foundation.tokens import TokenFile
from foundation.webhooks import Signing

LINES_TYPE = "application/x-ndjson"
LINE_TYPE = "application/json"
"""Of a sink that gets one line at a time."""
POST_S_MAX = 15.0
"""Longest wait for an answer, however slowly it comes."""
_TOO_LARGE = 413


class SinkUnavailable(Exception):
    """The batch was not taken, or nobody knows: it is to be given again. The message is for the log, without content."""


class Sink(Protocol):
    """Raises SinkUnavailable, SinkRefused, OSError."""

    async def following(self) -> int | None:
        """The index of the first entry that it does not have; None where it has none."""
        ...

    async def take(self, batch: Batch) -> None:
        """Durable, and its position with it, on return."""
        ...


class FileSink:
    """Lines appended to a file. One of `rotate_bytes` or more is put aside as `<file>.<index of the next entry>`, of which `keep` stay."""

    def __init__(self, path: Path, origin: str, *, rotate_bytes: int, keep: int) -> None:
        self._path = path
        self._position = path.with_name(path.name + ".position")
        self._origin = origin
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._mended = False
        self._turn = threading.Lock()

    async def following(self) -> int | None:
        return await asyncio.to_thread(position.read, self._position, self._origin)

    async def take(self, batch: Batch) -> None:
        await asyncio.to_thread(self.write, batch)

    def write(self, batch: Batch) -> None:
        """As `take`, for whoever has no loop. One that a cancelled caller has left behind is waited for."""
        with self._turn:
            self._write(batch)

    def _write(self, batch: Batch) -> None:
        if not self._mended:
            self._begin(batch.first)
            self._mended = True
        with self._path.open("ab") as out:
            begun = out.tell()
            try:
                out.write(b"".join(batch.lines))
                out.flush()
                os.fsync(out.fileno())
            except OSError:
                self._mended = False
                raise
        if not begun:
            sync_path(self._path.parent)
        position.write(self._position, Position(self._origin, batch.following))
        if begun + sum(map(len, batch.lines)) >= self._rotate_bytes:
            self._rotate(batch.following)

    def _begin(self, first: int) -> None:
        """Takes the file over: one that has a position beside it, a last line that a crash cut short cut off; or a new one."""
        if not self._path.parent.is_dir():
            raise SinkRefused(f"{self._path.parent} is no folder")
        if position.read(self._position, self._origin) is None:
            if self._path.exists() and self._path.stat().st_size:
                raise SinkRefused(f"{self._path} is there already and was not begun here; name another file")
            position.write(self._position, Position(self._origin, first))
        _cut_torn(self._path)

    def _rotate(self, following: int) -> None:
        self._path.rename(self._path.with_name(f"{self._path.name}.{following:015}"))
        sync_path(self._path.parent)
        for old in rotated(self._path)[: -self._keep]:
            old.unlink()


def rotated(path: Path) -> list[Path]:
    """Those put aside, the oldest first."""
    aside = re.compile(re.escape(path.name) + r"\.[0-9]{15}")
    return sorted(one for one in path.parent.iterdir() if aside.fullmatch(one.name))


def _cut_torn(path: Path) -> None:
    """Cuts off what comes after the last whole line: its batch is written again."""
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as held:
        end = held.seek(0, os.SEEK_END)
        at = end
        while at and (tail := _before(held.fileno(), at)):
            newline = tail.rfind(b"\n")
            at -= len(tail)
            if newline >= 0:
                at += newline + 1
                break
        if at != end:
            held.truncate(at)


def _before(descriptor: int, end: int) -> bytes:
    begin = max(0, end - 65_536)
    return os.pread(descriptor, end - begin, begin)


class HttpSink:
    """Batches as POSTs of newline-delimited JSON, with `Idempotency-Key: <origin>/<first>-<following>`, or the batch's own. A 2xx has taken
    it; 413 gets it in halves; whatever else, redirects too, has not, and the batch is given again. A position file, if any, says how far it
    came."""

    def __init__(
        self,
        http: HttpClient,
        url: str,
        origin: str,
        position_file: Path | None,
        token: TokenFile | None,
        *,
        signing: Signing | None = None,
        media_type: str = LINES_TYPE,
    ) -> None:
        self._http = http
        self._url = url
        self._origin = origin
        self._position = position_file
        self._token = token
        self._signing = signing
        self._media_type = media_type

    async def following(self) -> int | None:
        return None if self._position is None else await asyncio.to_thread(position.read, self._position, self._origin)

    async def take(self, batch: Batch) -> None:
        status = await self._post(batch) if batch.lines else 200
        if status == _TOO_LARGE and len(batch.lines) > 1:
            half = len(batch.lines) // 2
            await self.take(Batch(batch.first, batch.lines[:half], batch.first + half))
            await self.take(Batch(batch.first + half, batch.lines[half:], batch.following))
            return
        if not 200 <= status < 300:
            raise SinkUnavailable(f"status {status}")
        if self._position is not None:
            await asyncio.to_thread(position.write, self._position, Position(self._origin, batch.following))

    async def _post(self, batch: Batch) -> int:
        key = batch.key or f"{self._origin}/{batch.first}-{batch.following}"
        body = b"".join(batch.lines)
        headers = {"content-type": self._media_type, "idempotency-key": key, **self._authorization()}
        if self._signing is not None:
            headers |= await asyncio.to_thread(self._signed, self._signing, key, body)
        try:
            async with asyncio.timeout(POST_S_MAX):
                answer = await self._http.post(self._url, content=body, headers=headers)
        except (httpx.HTTPError, TimeoutError) as exc:
            raise SinkUnavailable(type(exc).__name__) from exc
        return answer.status_code

    def _authorization(self) -> dict[str, str]:
        if self._token is None:
            return {}
        try:
            return {"authorization": f"Bearer {self._token.token().reveal()}"}
        except (OSError, UnicodeDecodeError) as exc:
            raise SinkUnavailable(f"its token file: {type(exc).__name__}") from exc

    def _signed(self, signing: Signing, key: str, body: bytes) -> dict[str, str]:
        try:
            return signing.headers(key, body)
        except SettingsError as exc:
            raise SinkUnavailable(f"its signing file: {exc}") from exc


__all__ = ["FileSink", "HttpSink", "Sink", "SinkRefused", "SinkUnavailable", "rotated"]
