"""Rows of existing users for tests, and callers of bulk jobs."""

from typing import Any

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
