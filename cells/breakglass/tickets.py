"""Is a ticket open? Asked of a file or over HTTP; who cannot be asked says nothing, and nothing is granted then."""

import asyncio
from pathlib import Path
from typing import Protocol

import httpx
import msgspec

from cells.breakglass.settings import Tickets
from foundation.http import HttpClient
from foundation.problems import Code, refuse

BYTES_MAX = 1 << 20
ANSWER_BYTES_MAX = 1 << 16
OPEN = "open"


class Answer(msgspec.Struct, frozen=True):
    """What a tracker says of a ticket; other members are not looked at."""

    state: str


class Tracker(Protocol):
    async def is_open(self, ticket: str) -> bool:
        """False also where there is no such ticket. Raises ProblemError where nobody can be asked."""
        ...


class FileTracker:
    """JSON `{"OPS-7": "open", "OPS-8": "closed"}`, read anew at each question."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def is_open(self, ticket: str) -> bool:
        try:
            raw = await asyncio.to_thread(self._path.read_bytes)
            if len(raw) > BYTES_MAX:
                raise _silent()
            states = msgspec.json.decode(raw, type=dict[str, str])
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise _silent() from exc
        return states.get(ticket) == OPEN


class HttpTracker:
    """`GET <url>/<ticket>` → 200 `{"state": "open"}`; 404 where there is none. The client brings its token and its bounds."""

    def __init__(self, http: HttpClient, url: str) -> None:
        self._http = http
        self._url = url.rstrip("/")

    async def is_open(self, ticket: str) -> bool:
        try:
            answer = await self._http.get(f"{self._url}/{ticket}")
        except (httpx.HTTPError, OSError) as exc:
            raise _silent() from exc
        if answer.status_code == 404:
            return False
        if answer.status_code != 200 or len(answer.content) > ANSWER_BYTES_MAX:
            raise _silent()
        try:
            return msgspec.json.decode(answer.content, type=Answer).state == OPEN
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise _silent() from exc


def tracker_of(settings: Tickets, http: HttpClient) -> Tracker:
    return FileTracker(Path(settings.file)) if settings.file else HttpTracker(http, settings.url)


def _silent() -> Exception:
    return refuse(Code.NOT_READY, "the tracker of tickets cannot be asked just now", retry_after_s=1)
