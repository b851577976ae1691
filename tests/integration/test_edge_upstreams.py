"""What goes on from the edge to a service, and what comes back of its answer: real servers on loopback."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from foundation.http import HttpClient
from foundation.words import Verb
from tests.stands.edge import CLOCK, cell_verifier, edge, placement, service_verifier
from tests.stands.mirrors import mirror
from tests.stands.product_loop import anyio_backend
from tests.stands.servers import serving
from tests.stands.upstreams import before_raw, head_of, in_front_of

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio


async def test_the_request_goes_on_untouched_with_a_decision_and_without_the_token(folder: Path) -> None:
    async with in_front_of(mirror, folder) as (stand, http):
        response = await http.request(
            "PATCH",
            "/orders/a%2Fb;c?x=%20y&x=",
            headers=stand.bearer("ann")
            | {"x-note": "1", "domicile-decision": "v1.forged", "domicile-note": "1", "te": "trailers"},
            content=b"hello",
        )
        seen = response.json()
        headers = dict(seen["headers"])
        assert (seen["method"], seen["target"], seen["body"]) == ("PATCH", "/orders/a%2Fb;c?x=%20y&x=", "hello")
        decision = service_verifier("eu-de", "orders").verify(headers["domicile-decision"], CLOCK.unix_s())
        assert decision == cell_verifier("eu-de").verify(
            headers["domicile-decision"], CLOCK.unix_s(), service=decision.service
        )
        assert (decision.verb, decision.epoch, decision.purpose) == (Verb.WRITE, 7, "service")
        assert not {"authorization", "domicile-note", "te", "connection"} & set(headers)
        assert headers["x-note"] == "1"
        assert headers["x-forwarded-for"] == "127.0.0.1"
        assert headers["via"] == "1.1 domicile"
        assert response.headers["domicile-epoch"] == "7"
        assert response.headers["domicile-cell"] == "eu-de"
        assert response.headers["domicile-verdict"] == "serve"


async def test_the_callers_trace_goes_on_in_a_new_span(folder: Path) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with in_front_of(mirror, folder) as (stand, http):
        seen = (await http.get("/orders/1", headers=stand.bearer("ann") | {"traceparent": parent})).json()
        sent = dict(seen["headers"])["traceparent"]
        assert sent != parent
        assert sent.startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")


async def test_forwarded_addresses_count_only_behind_a_trusted_proxy(folder: Path) -> None:
    claims = {"x-forwarded-for": "198.51.100.7", "x-forwarded-proto": "https"}
    async with in_front_of(mirror, folder) as (stand, http):
        headers = dict((await http.get("/orders/1", headers=stand.bearer("ann") | claims)).json()["headers"])
        assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == ("127.0.0.1", "http")
    async with in_front_of(mirror, folder, proxies=("127.0.0.1/32",)) as (stand, http):
        headers = dict((await http.get("/orders/1", headers=stand.bearer("ann") | claims)).json()["headers"])
        assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == ("198.51.100.7, 127.0.0.1", "https")


async def test_a_body_of_unknown_length_goes_on_in_chunks(folder: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one ", b"two ", b"three"):
            yield piece

    async with in_front_of(mirror, folder) as (stand, http):
        seen = (await http.post("/orders/1", headers=stand.bearer("ann"), content=pieces())).json()
        assert seen["body"] == "one two three"
        assert dict(seen["headers"])["transfer-encoding"] == "chunked"


async def test_records_is_one_more_service_of_the_cell(folder: Path) -> None:
    async with serving(mirror) as port, edge(folder, 9, records_port=port) as stand:
        stand.settle("ann", placement())
        async with HttpClient(base_url=stand.url) as http:
            seen = (await http.get("/records/orders?select=id", headers=stand.bearer("ann"))).json()
            header = dict(seen["headers"])["domicile-decision"]
            assert service_verifier("eu-de", "records").verify(header, CLOCK.unix_s()).service == "records"


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_keep_the_connection(folder: Path, status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"etag", b'"1"')]})
        await send({"type": "http.response.body", "body": b""})

    async with in_front_of(app, folder) as (stand, http):
        for _ in range(3):
            response = await http.get("/orders/1", headers=stand.bearer("ann"))
            assert (response.status_code, response.content, response.headers["etag"]) == (status, b"", '"1"')
        assert [pool.open for pool in stand.pools.all()] == [1]


async def test_head_says_what_get_would_have_had(folder: Path) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await head_of(reader):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")

    async with before_raw(raw, folder) as (stand, http):
        for _ in range(3):
            response = await http.head("/orders/1", headers=stand.bearer("ann"))
            assert (response.status_code, response.headers["content-length"], response.content) == (200, "1000", b"")
        assert [pool.open for pool in stand.pools.all()] == [1]


async def test_interim_answers_are_skipped_and_trailers_dropped(folder: Path) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Late: 1\r\n\r\n")
        await reader.read()

    async with before_raw(raw, folder) as (stand, http):
        response = await http.get("/orders/1", headers=stand.bearer("ann"))
        assert (response.status_code, response.text) == (200, "hi")
        assert "link" not in response.headers


async def test_an_answer_that_ends_with_the_connection_is_whole(folder: Path) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nto the end")
        writer.write_eof()

    async with before_raw(raw, folder) as (stand, http):
        assert (await http.get("/orders/1", headers=stand.bearer("ann"))).text == "to the end"
