"""What the cell service asks of the directory beside feed and rules: acknowledge a fence, place a new subject."""

from urllib.parse import quote

import msgspec

from directory.bulk.answers import AcknowledgedPart, PartsAnswer, SettledPart
from directory.bulk.packed import PACKED_PART, PackedPart
from directory.client.remote import DirectoryUnavailable, HttpDirectory
from directory.placement.answers import PAGE_MAX, AckRequest, PlacedAnswer, PlaceRequest, SubjectPage
from foundation.problems import Code, Problem
from foundation.words import CellId, Epoch, ShardId, SubjectId

PLACE_S_MAX = 4.0
ACK_S_MAX = 2.0
PART_S_MAX = 10.0
LIST_S_MAX = 5.0


class CellDirectory(HttpDirectory):
    """The directory over HTTP with the calls of a cell service."""

    async def acknowledge(self, subject: SubjectId, epoch: Epoch) -> bool:
        """True when the directory took it, False when that epoch is not the subject's any more. Raises DirectoryUnavailable."""
        response = await self.send(
            "POST", f"/v1/subjects/{subject}/ack", timeout_s=ACK_S_MAX, body=AckRequest(epoch=epoch)
        )
        if response.status_code == 200:
            return True
        if response.status_code in (404, 409):
            return False
        raise DirectoryUnavailable(f"status-{response.status_code}")

    async def subjects_of(self, cell: CellId, cursor: str | None) -> SubjectPage:
        """A page of the cell's subjects, as they stand. Raises DirectoryUnavailable."""
        onward = "" if cursor is None else f"&cursor={quote(cursor, safe='')}"
        path = f"/v1/subjects?cell={cell}&limit={PAGE_MAX}{onward}"
        response = await self.send("GET", path, timeout_s=LIST_S_MAX)
        if response.status_code != 200:
            raise DirectoryUnavailable(f"status-{response.status_code}")
        try:
            return msgspec.json.decode(response.content, type=SubjectPage)
        except msgspec.MsgspecError as exc:
            raise DirectoryUnavailable("malformed") from exc

    async def waiting_parts(self, cell: CellId, shard: ShardId) -> PartsAnswer:
        """Parts of imports whose fences are to be raised. Raises DirectoryUnavailable."""
        return await self._ask(
            "GET", f"/v1/bulk/parts/waiting?cell={cell}&shard={shard}", PartsAnswer, timeout_s=PART_S_MAX
        )

    async def part(self, number: int) -> PackedPart:
        """In columns. Raises DirectoryUnavailable."""
        headers = {"accept": PACKED_PART}
        response = await self.send("GET", f"/v1/bulk/parts/{number}", timeout_s=PART_S_MAX, headers=headers)
        if response.status_code != 200:
            raise DirectoryUnavailable(f"status-{response.status_code}")
        try:
            return msgspec.msgpack.decode(response.content, type=PackedPart)
        except msgspec.MsgspecError as exc:
            raise DirectoryUnavailable("malformed") from exc

    async def acknowledge_part(self, number: int) -> AcknowledgedPart:
        """Raises DirectoryUnavailable."""
        return await self._ask("POST", f"/v1/bulk/parts/{number}/ack", AcknowledgedPart, timeout_s=PART_S_MAX)

    async def settle_part(self, number: int) -> None:
        """Raises DirectoryUnavailable."""
        await self._ask("POST", f"/v1/bulk/parts/{number}/settled", SettledPart, timeout_s=PART_S_MAX)

    async def place(self, asked: PlaceRequest, *, idempotency_key: str) -> PlacedAnswer | Problem:
        """The new placement (active, or still reserved), or the directory's refusal. Raises DirectoryUnavailable."""
        response = await self.send(
            "POST", "/v1/subjects", timeout_s=PLACE_S_MAX, body=asked, headers={"idempotency-key": idempotency_key}
        )
        try:
            if response.status_code in (201, 202):
                return msgspec.json.decode(response.content, type=PlacedAnswer)
            if response.status_code < 500:
                return _problem(response.content)
        except (msgspec.MsgspecError, ValueError) as exc:
            raise DirectoryUnavailable("malformed") from exc
        raise DirectoryUnavailable(f"status-{response.status_code}")


_STANDARD = {"type", "title", "status", "detail", "code"}


def _problem(document: bytes) -> Problem:
    """The directory's problem document as a value; an unknown code is a ValueError."""
    members = msgspec.json.decode(document, type=dict[str, object])
    extra = {name: value for name, value in members.items() if name not in _STANDARD}
    return Problem(code=Code(str(members.get("code"))), detail=str(members.get("detail", "")), extra=extra)
