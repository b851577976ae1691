"""What a cell service asks of the directory about aliases. Every call raises DirectoryUnavailable and ends within its bound."""

from typing import TypeVar

import msgspec

from directory.aliases.answers import (
    ClaimAnswer,
    ClaimPage,
    ClaimRequest,
    SettleRequest,
    Twins,
    TwinsAnswer,
    TwinsRequest,
)
from directory.client.remote import DirectoryUnavailable, HttpDirectory
from foundation.problems import Code, Problem
from foundation.words import CellId

ANSWER_S_MAX = 4.0
_STANDARD = {"type", "title", "status", "detail", "code"}

T = TypeVar("T")


class AliasDirectory:
    def __init__(self, directory: HttpDirectory) -> None:
        self._directory = directory

    async def claim(self, asked: ClaimRequest) -> ClaimAnswer | Problem:
        return await self._post("/v1/aliases/claim", asked, ClaimAnswer)

    async def confirm(self, asked: SettleRequest) -> ClaimAnswer | Problem:
        return await self._post("/v1/aliases/confirm", asked, ClaimAnswer)

    async def release(self, asked: SettleRequest) -> ClaimAnswer | Problem:
        return await self._post("/v1/aliases/release", asked, ClaimAnswer)

    async def twins(self, twins: tuple[Twins, ...]) -> TwinsAnswer | Problem:
        return await self._post("/v1/aliases/twins", TwinsRequest(twins=twins), TwinsAnswer)

    async def unresolved(self, cell: CellId, cursor: str | None) -> ClaimPage:
        """A page of this cell's claims whose lease ran out."""
        after = f"&cursor={cursor}" if cursor else ""
        path = f"/v1/aliases?cell={cell}&state=unresolved&limit=100{after}"
        response = await self._directory.send("GET", path, timeout_s=ANSWER_S_MAX)
        answer = _decoded(response.status_code, response.content, ClaimPage)
        if isinstance(answer, Problem):
            raise DirectoryUnavailable(f"status-{answer.status}")
        return answer

    async def _post(self, path: str, body: object, shape: type[T]) -> T | Problem:
        response = await self._directory.send("POST", path, timeout_s=ANSWER_S_MAX, body=body)
        return _decoded(response.status_code, response.content, shape)


def _decoded(status: int, content: bytes, shape: type[T]) -> T | Problem:
    """The answer or the directory's refusal. Raises DirectoryUnavailable for anything else."""
    if status >= 500:
        raise DirectoryUnavailable(f"status-{status}")
    try:
        if status < 300:
            return msgspec.json.decode(content, type=shape)
        members = msgspec.json.decode(content, type=dict[str, object])
        extra = {name: value for name, value in members.items() if name not in _STANDARD}
        return Problem(code=Code(str(members.get("code"))), detail=str(members.get("detail", "")), extra=extra)
    except (msgspec.MsgspecError, ValueError) as exc:
        raise DirectoryUnavailable("malformed") from exc
