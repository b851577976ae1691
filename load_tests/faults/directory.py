"""The directory's API as the fault driver uses it: epochs, freezes, drains, rules. An answer that does not come is None."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from foundation import http
from foundation.tokens import TokenFile

REASON = "load test"
CALL_S = 5.0


class Directory:
    """One operator's calls."""

    def __init__(self, client: http.HttpClient) -> None:
        self._client = client

    async def _call(self, method: str, path: str, *, headers: dict[str, str] | None = None, json: Any = None) -> Any:
        try:
            response = await self._client.request(method, path, json=json, headers=headers)
            return response.json() if response.status_code < 300 else None
        except (httpx.HTTPError, ValueError):
            return None

    async def placement(self, subject: str) -> dict[str, Any] | None:
        document = await self._call("GET", f"/v1/subjects/{subject}")
        return None if document is None else dict(document["placement"])

    async def change(self, subject: str, call: str) -> int | None:
        """`epoch`, `freeze` or `unfreeze`; the new epoch."""
        held = await self.placement(subject)
        if held is None:
            return None
        done = await self._call(
            "POST", f"/v1/subjects/{subject}/{call}", json={"epoch": held["epoch"], "reason": REASON}
        )
        return None if done is None else int(done["placement"]["epoch"])

    async def placements(self, cell: str) -> list[dict[str, Any]]:
        """Every placement of a cell. Raises httpx.HTTPError."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            params = {"cell": cell, "limit": "1000"} | ({"cursor": cursor} if cursor else {})
            response = await self._client.get("/v1/subjects", params=params)
            response.raise_for_status()
            page = response.json()
            found += page["subjects"]
            cursor = page["next"]
            if cursor is None:
                return found

    async def rules(self) -> dict[str, Any] | None:
        document = await self._call("GET", "/v1/rules/current")
        return None if document is None else dict(document)

    async def publish(self, policy: str) -> bool:
        return await self._call("POST", "/v1/rules", json={"policy": policy, "reason": REASON}) is not None

    async def drain(self, cell: str, drain: bool) -> bool:
        path = f"/v1/registry/cells/{cell}"
        held = await self._call("GET", path)
        if held is None:
            return False
        entry = held["entry"]
        body = {"drain": drain, "reason": REASON, "weight": entry.get("weight"), "addresses": entry.get("addresses")}
        body = {name: value for name, value in body.items() if value is not None}
        done = await self._call("PUT", path, headers={"if-match": f'"{entry["version"]}"'}, json=body)
        return done is not None


@asynccontextmanager
async def opened(url: str, token: Path) -> AsyncIterator[Directory]:
    async with http.client(url, token=TokenFile(token), total_s=CALL_S) as client:
        yield Directory(client)
