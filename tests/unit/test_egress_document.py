"""The OpenAPI document of `/cell/egress`: made from the same declarations as the routes, and whole."""

import json
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from cells.egress import api

pytestmark = pytest.mark.anyio


def routes() -> list[Route]:
    """Handlers are not called, so what they work on may be absent."""
    absent = cast("Any", SimpleNamespace(auth=None))
    return api.routes(absent, {}, None, absent)


async def document() -> dict[str, Any]:
    transport = httpx.ASGITransport(app=Starlette(routes=routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://cell") as http:  # noqa: TID251 - into an application
        answer = await http.get(api.DOCUMENT)
    return cast("dict[str, Any]", answer.json())


def references(value: Any) -> set[str]:
    text = json.dumps(value)
    return {part.partition('"')[0] for part in text.split('"$ref": "')[1:]}


async def test_the_document_describes_every_call_and_refers_to_nothing_missing() -> None:
    told = await document()
    described = {f"{method.upper()} {path}" for path, calls in told["paths"].items() for method in calls}
    served = {f"{method} {one.path}" for one in routes() for method in one.methods or () if method != "HEAD"}
    assert described == served - {f"GET {api.DOCUMENT}"}
    assert references(told) <= {f"#/components/schemas/{name}" for name in told["components"]["schemas"]}
    for calls in told["paths"].values():
        for call in calls.values():
            assert {"200", "400", "401", "403", "503"} <= set(call["responses"])


async def test_a_stream_is_lines_both_ways_and_says_what_has_to_be_asked_for() -> None:
    stream = (await document())["paths"]["/cell/egress/stream"]["post"]
    assert (
        set(stream["requestBody"]["content"]) == set(stream["responses"]["200"]["content"]) == {"application/x-ndjson"}
    )
    assert {one["name"] for one in stream["parameters"] if one["required"]} == {"contract", "to", "purpose"}


async def test_events_are_json_or_arrow_both_ways_and_only_arrow_has_its_aim_beside_it() -> None:
    events = (await document())["paths"]["/cell/egress/events"]["post"]
    forms = {"application/json", "application/vnd.apache.arrow.stream"}
    assert set(events["requestBody"]["content"]) == set(events["responses"]["200"]["content"]) == forms
    assert {one["name"]: one["required"] for one in events["parameters"]} == dict.fromkeys(
        ("contract", "to", "purpose"), False
    )
