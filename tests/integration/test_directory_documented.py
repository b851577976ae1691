"""The directory against its own OpenAPI document: whatever fits it or does not, no fault."""

import os
from pathlib import Path

import httpx
import pytest

from foundation.mute import Secret
from tests.stands.directory import running_directory
from tests.stands.documented import NO_FAULT, explore
from tests.stands.service_tokens import ServiceIssuer

pytestmark = pytest.mark.anyio

NUMBER = int(os.environ.get("DOCUMENTED_REQUESTS", "3"))
ROLES = ("operator", "resolver", "rules", "cell:eu-de")


@pytest.mark.timeout(3_600 if NUMBER > 20 else 240)
async def test_no_request_of_the_document_makes_a_fault(database: Secret[str], tmp_path: Path) -> None:
    tokens = ServiceIssuer(tmp_path)
    async with running_directory(database, tokens, workers=False) as running:
        await running.callers.publisher.publish()
        await running.callers.active("ada")
        http = running.callers.http

        async def send(request: httpx.Request) -> httpx.Response:
            # Calls that wait for something new wait a moment only.
            if "wait_ms" in request.url.params:
                url = request.url.copy_set_param("wait_ms", "1")
                request = httpx.Request(request.method, url, headers=request.headers, content=request.content)
            request.headers.update(tokens.headers("operator:all", ROLES))
            answer = await http.send(request)
            await answer.aread()
            assert answer.status_code != 500, f"{request.method} {request.url} {request.content!r}\n  → {answer.text}"
            return answer

        seen = await explore((await http.get("/openapi.json")).json(), send, NO_FAULT, fitting=NUMBER, violating=1)
        print(f"{sum(seen.values())} requests: {dict(sorted(seen.items()))}")
        assert any(status < 300 for _, status in seen), seen
