"""Rows of existing users for tests, and callers of bulk jobs."""

from typing import Any

import httpx
import msgspec

from directory.bulk.answers import BulkRow
from directory.bulk.packed import PACKED, PackedBatch, PackedCheck, pack
from tests.stands.directory import Caller, lookup_key


def row(number: int, *, residence: str = "DE", name: str | None = None, **more: Any) -> dict[str, Any]:
    """One blinded user."""
    key = lookup_key(name or f"bulk-{number}")
    return {
        "row": number,
        "residence": residence,
        "services": ["orders", "records"],
        "keys": [{"kind": "login", "key": key}],
    } | more


def rows(count: int, *, first: int = 0, **more: Any) -> list[dict[str, Any]]:
    return [row(number, **more) for number in range(first, first + count)]


async def job(caller: Caller) -> str:
    begun = await caller.post("/v1/bulk", {"reason": "moving in"})
    assert begun.status_code == 201, begun.text
    return str(begun.json()["job_id"])


async def batch(caller: Caller, job_id: str, number: int, given: list[dict[str, Any]]) -> dict[str, Any]:
    answer = await caller.post(f"/v1/bulk/{job_id}/batches", {"number": number, "rows": given})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def packed(caller: Caller, job_id: str, number: int, given: list[dict[str, Any]]) -> httpx.Response:
    """The same batch in columns."""
    body = PackedBatch(number=number, rows=pack(msgspec.convert(given, list[BulkRow])))
    path = f"/v1/bulk/{job_id}/batches"
    return await caller.raw("POST", path, msgspec.msgpack.encode(body), {"content-type": PACKED})


async def checked(caller: Caller, given: list[dict[str, Any]]) -> dict[str, Any]:
    """What would become of the rows, which must be the same in both forms."""
    rows = pack(msgspec.convert(given, list[BulkRow]))
    body = msgspec.msgpack.encode(PackedCheck(rows=rows))
    in_columns = await caller.raw("POST", "/v1/bulk/check", body, {"content-type": PACKED})
    by_row = await caller.post("/v1/bulk/check", {"rows": given})
    assert in_columns.json() == by_row.json()
    told: dict[str, Any] = by_row.json()
    return told
