"""The records API against its own OpenAPI document: what fits it, and what does not, is answered as it says, on real Postgres.

Some hundred requests by default; `make fuzz` asks more (DOCUMENTED_REQUESTS of each operation).
"""

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.postgres import PostgresServer
from foundation.http import HttpClient
from foundation.words import RECORDS
from tests.stands.documented import CONFORMING, explore
from tests.stands.oracle import OWN, STRANGERS, leak, refill, strangers
from tests.stands.records import RecordsStand, records_stand
from tests.stands.shard import rows

pytestmark = pytest.mark.anyio

ALLOWED = {"done": True, "rank": None, "due": None, "span": None, "stay": None}
NUMBER = int(os.environ.get("DOCUMENTED_REQUESTS", "12"))


def _keyed(request: httpx.Request) -> httpx.Request:
    """A PUT whose body says what no schema can: the id that its URL names, and what the table's own constraints allow."""
    key = request.url.params.get("id", "")
    try:
        row = json.loads(request.content)
    except ValueError:
        row = None
    if request.method != "PUT" or not key.startswith("eq.") or not isinstance(row, dict):
        return request
    headers = {name: value for name, value in request.headers.items() if name != "content-length"}
    content = json.dumps(row | ALLOWED | {"id": key.removeprefix("eq.")}).encode()
    return httpx.Request("PUT", request.url, headers=headers, content=content)


async def _document(live: RecordsStand, **who: Any) -> dict[str, Any]:
    answer = await live.http.get("/records/", headers=live.headers(**who))
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


@pytest.mark.timeout(3_600 if NUMBER > 100 else 240)
@pytest.mark.parametrize("who", [{}, {"service": RECORDS}], ids=["service", "person"])
async def test_requests_of_the_document_are_answered_as_it_says(
    postgres_server: PostgresServer, tmp_path: Path, who: dict[str, Any]
) -> None:
    async with (
        records_stand(postgres_server, tmp_path) as live,
        HttpClient(
            transport=httpx.ASGITransport(app=live.app)
        ) as asking,  # whatever address the document's requests have
    ):
        await strangers(live)
        await refill(live)
        before = await rows(live.dsns, STRANGERS, live.subject)

        async def send(request: httpx.Request) -> httpx.Response:
            if request.method == "DELETE":
                await refill(live)
            request = _keyed(request)
            request.headers.update(live.headers(**who))
            asked = f"{request.method} {request.url} {request.headers} {request.content!r}"
            answer = await asking.send(request)
            await answer.aread()
            found = leak(asked, answer.status_code, answer.text, dict(answer.headers))
            assert found is None, f"{found}: {asked}\n  → {answer.status_code} {answer.text[:300]}"
            return answer

        document = await _document(live, **who)
        seen = await explore(document, send, CONFORMING, fitting=NUMBER, violating=NUMBER // 4)
        print(f"{sum(seen.values())} requests: {dict(sorted(seen.items()))}")
        assert await rows(live.dsns, STRANGERS, live.subject) == before
        assert tuple((await rows(live.dsns, OWN, live.subject))[0])[1:] == (0, 0)
        # The document is no use if nothing that fits it succeeds.
        succeeded = {method for method, status in seen if status < 300}
        assert succeeded >= (
            {"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"} if not who else {"GET", "HEAD", "PATCH"}
        ), seen
