"""What is asked of the directory about locks: a port, and its HTTP form. Every call raises DirectoryUnavailable, and is bounded."""

from typing import Protocol, TypeVar

import msgspec

from directory.client.remote import ANSWER_BYTES_MAX, DirectoryUnavailable, HttpDirectory
from directory.locks.core import LockPage, TellRequest, ToldAnswer
from foundation.words import CellId

TELL_S_MAX = 2.0
SLACK_S = 1.0
"""How much longer than its own wait a poll may take: one that got lost leaves time for another before what was heard is too old."""


class Otherwise(msgspec.Struct, frozen=True):
    """The directory holds another telling of this cell, under this number, by so many steps."""

    number: int
    steps: int = 0


class Overfull(msgspec.Struct, frozen=True):
    """This cell has lost more of what it told than the directory keeps: an operator has to look."""


class LockSource(Protocol):
    async def page(self, held: str, *, wait_ms: int) -> LockPage:
        """What cells have told, as soon as it is another state than `held`, else after `wait_ms`."""
        ...

    async def tell(self, cell: CellId, asked: TellRequest) -> ToldAnswer | Otherwise | Overfull: ...


T = TypeVar("T")


class _Refused(msgspec.Struct):
    number: int = 0
    steps: int = 0


class LockDirectory:
    """Implements `LockSource`."""

    def __init__(self, directory: HttpDirectory) -> None:
        self._directory = directory

    async def page(self, held: str, *, wait_ms: int) -> LockPage:
        shown = f"held={held}&" if held else ""
        path = f"/v1/locks?{shown}wait_ms={wait_ms}"
        response = await self._directory.send("GET", path, timeout_s=wait_ms / 1000 + SLACK_S)
        if response.status_code != 200:
            raise DirectoryUnavailable(f"status-{response.status_code}")
        return _decoded(response.content, LockPage)

    async def tell(self, cell: CellId, asked: TellRequest) -> ToldAnswer | Otherwise | Overfull:
        response = await self._directory.send("PUT", f"/v1/locks/{cell}", timeout_s=TELL_S_MAX, body=asked)
        match response.status_code:
            case 200:
                return _decoded(response.content, ToldAnswer)
            case 412:
                held = _decoded(response.content, _Refused)
                return Otherwise(held.number, held.steps)
            case 409:
                return Overfull()
            case status:
                raise DirectoryUnavailable(f"status-{status}")


def _decoded(content: bytes, shape: type[T]) -> T:
    """Raises DirectoryUnavailable."""
    if len(content) > ANSWER_BYTES_MAX:
        raise DirectoryUnavailable("malformed")
    try:
        return msgspec.json.decode(content, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise DirectoryUnavailable("malformed") from exc
