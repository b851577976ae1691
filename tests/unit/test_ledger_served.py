"""The calls of a cell over its log, and what says of them what they are."""

from typing import Any, cast

import httpx
import pytest

from cells.ledger.api import DOCUMENT, routes
from foundation.http import HttpClient, application

pytestmark = pytest.mark.anyio


async def test_the_document_of_a_cells_log_names_every_call_to_whoever_asks() -> None:
    served = routes(None, cast("Any", None))
    transport = httpx.ASGITransport(app=application(served, ready=lambda: None))
    async with HttpClient(transport=transport, base_url="http://cell") as http:
        answer = await http.get(DOCUMENT)
    document = answer.json()
    assert (answer.status_code, document["openapi"]) == (200, "3.1.0")
    described = {(method.upper(), path) for path, calls in document["paths"].items() for method in calls}
    given = {(method, one.path.replace(":path}", "}")) for one in served for method in one.methods or ()}
    assert described == {call for call in given if call[0] != "HEAD" and call[1] != DOCUMENT}
    assert ("GET", "/ledger/tile/{path}") in described
    assert {"Erasure", "ErasureRequest", "ReadStated", "Problem"} <= set(document["components"]["schemas"])
