"""The edge in front of services that behave, misbehave, break off and trickle: real servers on loopback."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.types import Receive, Scope, Send

from foundation.http import HttpClient
from foundation.wire import connection
from foundation.words import Verb
from gateway.edge import body as bodies
from gateway.edge.upstream.forwarder import Forwarder, Sending
from gateway.edge.upstream.pool import Pools
from gateway.settings import Upstream
from tests.stands.edge import CLOCK, Stand, cell_verifier, edge, placement, service_verifier, tcp
from tests.stands.servers import serving
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop that the product runs on: transports differ."""
    return "asyncio", {"use_uvloop": True}


async def body_of(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def answer(send: Send, status: int, body: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None) -> None:
    length = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": length + (headers or [])})
    await send({"type": "http.response.body", "body": body})


async def mirror(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what arrived, as JSON."""
    seen = {
        "method": scope["method"],
        "target": (scope["raw_path"] + b"?" + scope["query_string"]).decode("latin-1"),
        "headers": [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": (await body_of(receive)).decode("latin-1"),
    }
    await answer(
        send, 200, json.dumps(seen).encode(), [(b"content-type", b"application/json"), (b"domicile-epoch", b"9")]
    )


@contextlib.asynccontextmanager
async def in_front_of(app: Any, folder: Path, **options: Any) -> AsyncIterator[tuple[Stand, HttpClient]]:
    async with serving(app) as port, edge(folder, port, **options) as stand:
        stand.settle("ann", placement(epoch=7))
        async with HttpClient(base_url=stand.url, timeout=10) as http:
            yield stand, http


@contextlib.asynccontextmanager
async def before_raw(
    handler: Callable[..., Any], folder: Path, **options: Any
) -> AsyncIterator[tuple[Stand, HttpClient]]:
    async with tcp(handler) as port, edge(folder, port, **options) as stand:
        stand.settle("ann", placement(epoch=7))
        async with HttpClient(base_url=stand.url, timeout=10) as http:
            yield stand, http


async def head_of(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def code_of(response: httpx.Response) -> str:
    code: str = response.json()["code"]
    return code


# --- what goes on ------------------------------------------------------------------------------------------------------------


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


# --- services that misbehave -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer_bytes",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhi",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 700 Strange\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 099 Strange\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Big: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 40,
    ],
    ids=[
        "nonsense",
        "length and chunks",
        "two lengths",
        "coding",
        "upgrade",
        "status",
        "low status",
        "huge head",
        "interims",
    ],
)
async def test_an_answer_that_is_not_http_is_a_502(folder: Path, answer_bytes: bytes) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(answer_bytes)
        await reader.read()

    async with before_raw(raw, folder) as (stand, http):
        response = await http.get("/orders/1", headers=stand.bearer("ann"))
        assert (response.status_code, code_of(response)) == (502, "upstream_broken")


async def test_bytes_after_an_answer_never_reach_the_next_one(folder: Path) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
        )
        await reader.read()

    async with before_raw(raw, folder) as (stand, http):
        for _ in range(3):
            assert (await http.get("/orders/1", headers=stand.bearer("ann"))).text == "hi"


async def test_a_connection_refused_is_cell_unreachable(folder: Path) -> None:
    async with edge(folder, 9) as stand:
        stand.settle("ann", placement())
        async with HttpClient(base_url=stand.url) as http:
            response = await http.post("/orders/1", headers=stand.bearer("ann"), content=b"x")
            assert (response.status_code, code_of(response)) == (502, "cell_unreachable")


@pytest.mark.parametrize(("method", "tries"), [("GET", 2), ("PUT", 2), ("POST", 1), ("PATCH", 1)])
async def test_a_reset_before_the_answer_repeats_idempotent_requests_once(
    folder: Path, method: str, tries: int
) -> None:
    seen: list[bytes] = []

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await head_of(reader))
        writer.transport.abort()

    async with before_raw(raw, folder) as (stand, http):
        response = await http.request(method, "/orders/1", headers=stand.bearer("ann"), content=b"x")
        assert (response.status_code, code_of(response)) == (502, "upstream_broken")
        assert len(seen) == tries


async def test_a_service_that_closed_its_idle_connection_costs_nobody_an_error(folder: Path) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    async with before_raw(raw, folder) as (stand, http):
        for _ in range(10):
            assert (await http.get("/orders/1", headers=stand.bearer("ann"))).text == "hi"


@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
    ids=["length", "chunks"],
)
async def test_an_answer_that_breaks_off_never_looks_whole(folder: Path, beginning: bytes) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(beginning)
        await writer.drain()
        writer.write_eof()

    async with before_raw(raw, folder) as (stand, http):
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/orders/1", headers=stand.bearer("ann"))


async def test_silence_before_the_answer_is_a_504(folder: Path) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with before_raw(raw, folder, limits=Upstream(first_byte_s=0.2)) as (stand, http):
        response = await http.get("/orders/1", headers=stand.bearer("ann"))
        assert (response.status_code, code_of(response)) == (504, "upstream_timeout")


async def test_silence_inside_the_answer_breaks_it_off(folder: Path) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await reader.read()

    async with before_raw(raw, folder, limits=Upstream(stall_s=0.2)) as (stand, http):
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/orders/1", headers=stand.bearer("ann"))


async def test_a_trickle_is_bounded_in_all(folder: Path) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.transport.is_closing():
            writer.write(b"1\r\nx\r\n")
            await asyncio.sleep(0.05)

    async with before_raw(raw, folder, limits=Upstream(total_s=0.5)) as (stand, http):
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/orders/1", headers=stand.bearer("ann"))


async def test_connections_and_waiters_are_bounded(folder: Path) -> None:
    release = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()
        await answer(send, 200, b"ok")

    limits = Upstream(connections_max=2, waiters_max=2, wait_s=5)
    async with in_front_of(app, folder, limits=limits) as (stand, http):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(http.get("/orders/1", headers=stand.bearer("ann"))) for _ in range(6)]
            await eventually(lambda: sum(task.done() for task in tasks) == 2)
            assert [pool.open for pool in stand.pools.all()] == [2]
            release.set()
        statuses = sorted(task.result().status_code for task in tasks)
        assert statuses == [200, 200, 200, 200, 503, 503]


# --- both directions ---------------------------------------------------------------------------------------------------------


async def test_a_client_that_leaves_ends_the_exchange(folder: Path) -> None:
    ended = asyncio.Event()
    began = asyncio.Event()

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        began.set()
        assert await reader.read() == b""
        ended.set()

    async with before_raw(raw, folder, limits=Upstream()) as (stand, _):
        _, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        token = stand.bearer("ann")["authorization"]
        writer.write(f"GET /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
        with anyio.fail_after(10):
            await began.wait()
            writer.close()
            await ended.wait()
        await eventually(lambda: [pool.open for pool in stand.pools.all()] == [0])


async def test_a_refusal_before_the_body_is_read_reaches_the_client(folder: Path) -> None:
    """The service answers at the head of a large upload and reads none of it."""

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        await writer.drain()
        await reader.read()

    async with before_raw(raw, folder) as (stand, http):
        response = await http.post("/orders/1", headers=stand.bearer("ann"), content=b"x" * 4_000_000)
        assert (response.status_code, response.text) == (403, "no")


async def test_a_client_that_leaves_an_early_answer_ends_the_exchange(folder: Path) -> None:
    """An answer that has no end, to a request whose body has none."""
    ended = asyncio.Event()

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"1\r\nx\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        ended.set()

    async with before_raw(raw, folder, limits=Upstream()) as (stand, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        token = stand.bearer("ann")["authorization"]
        head = f"POST /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode() + b"3\r\nabc\r\n")
        with anyio.fail_after(10):
            assert (await head_of(reader)).startswith(b"HTTP/1.1 403 ")
            writer.transport.abort()
            await ended.wait()


async def test_a_client_that_is_silent_under_an_early_answer_gets_all_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that takes longer than a body may be silent."""
    monkeypatch.setattr(bodies, "LINGER_S_MAX", 0.1)
    silent = asyncio.Event()

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n")
        await silent.wait()
        for _ in range(40):
            writer.write(b"1\r\nx\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.write(b"0\r\n\r\n")

    async with before_raw(raw, folder, limits=Upstream()) as (stand, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        token = stand.bearer("ann")["authorization"]
        head = f"POST /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode() + b"3\r\nabc\r\n")
        with anyio.fail_after(20):
            assert (await head_of(reader)).startswith(b"HTTP/1.1 403 ")
            monkeypatch.setattr(connection, "BODY_SILENT_S_MAX", 0.1)
            writer.write(b"3\r\nabc\r\n")  # the last of it; from here on a body would be late
            silent.set()
            found = await reader.read()
        writer.close()
    assert found.count(b"x") == 40
    assert found.endswith(b"0\r\n\r\n")


async def test_a_body_that_nobody_wants_any_more_is_bounded_too(folder: Path) -> None:
    """Under an early answer that has no end."""
    ended = asyncio.Event()

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        with contextlib.suppress(ConnectionError):
            while await reader.read(65_536):
                pass
        ended.set()

    async with before_raw(raw, folder, limits=Upstream(body_bytes_max=1_000_000)) as (stand, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        token = stand.bearer("ann")["authorization"]
        head = f"POST /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode())
        with anyio.fail_after(20):
            assert (await head_of(reader)).startswith(b"HTTP/1.1 403 ")
            with contextlib.suppress(ConnectionError):
                for _ in range(20):
                    writer.write(b"10000\r\n%b\r\n" % bytes(65_536))
                    await writer.drain()
            await ended.wait()
        writer.transport.abort()


async def test_the_verdict_falls_before_the_body_is_read(folder: Path) -> None:
    async with edge(folder, 9) as stand:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(b"POST /orders/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
        with anyio.fail_after(5):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" in head
        writer.close()


@pytest.mark.parametrize("length", [b"10", b"1000000"], ids=["kept", "streamed"])
async def test_a_client_that_stalls_inside_its_body_is_told_so(folder: Path, length: bytes) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with before_raw(raw, folder, limits=Upstream(stall_s=0.2)) as (stand, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        token = stand.bearer("ann")["authorization"].encode()
        writer.write(
            b"POST /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\nContent-Length: %b\r\n\r\nx" % (token, length)
        )
        with anyio.fail_after(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
            assert b"connection: close\r\n" in await reader.readuntil(b"\r\n\r\n")
        writer.close()


async def test_an_echo_streams_both_ways_at_once(folder: Path) -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})

    async with in_front_of(echo, folder) as (stand, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        token = stand.bearer("ann")["authorization"]
        writer.write(
            f"POST /orders/echo HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        with anyio.fail_after(10):
            for word in (b"first", b"second", b"third"):
                writer.write(b"%x\r\n%b\r\n" % (len(word), word))
                await reader.readuntil(word)
            writer.write(b"0\r\n\r\n")
            await reader.readuntil(b"0\r\n\r\n")
        writer.close()


@pytest.mark.parametrize("smuggled", [
    b"POST /orders/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /orders/2 HTTP/1.1\r\n\r\n",
    b"POST /orders/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    b"POST /orders/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"GET /orders/1 HTTP/1.1\r\nHost: x\r\nX-A: b\rX-C: d\r\n\r\n",
    b"GET /orders/1 HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET /orders/1 HTTP/1.1\r\nAccept: */*\r\n\r\n",
    b"POST /orders/1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
])  # fmt: skip
async def test_ambiguous_requests_are_refused_at_the_door(folder: Path, smuggled: bytes) -> None:
    async with edge(folder, 9) as stand:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(smuggled)
        with anyio.fail_after(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def exchange_raw(stand: Stand, request: bytes, *, parts: int = 1) -> list[dict[str, Any]]:
    """Sends bytes and reads `parts` answers of a service that mirrors, with the head's fields under `answered`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
    writer.write(request)
    found = []
    with anyio.fail_after(5):
        for _ in range(parts):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            found.append({**json.loads(await reader.readexactly(length)), "answered": head})
    writer.close()
    return found


async def test_trailers_are_no_headers(folder: Path) -> None:
    async with in_front_of(mirror, folder, proxies=("127.0.0.1/32",)) as (stand, _):
        token = stand.bearer("ann")["authorization"].encode()
        chunks = b"3\r\nabc\r\n0\r\n"
        start = b"POST /orders/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        head = start + b"Authorization: " + token + b"\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n"
        spoofed = b"X-Forwarded-For: 203.0.113.9\r\nX-Admin: 1\r\nDomicile-For: x\r\n\r\n"
        [seen] = await exchange_raw(stand, head + chunks + spoofed)
        headers = dict(seen["headers"])
        assert seen["body"] == "abc"
        assert headers["x-forwarded-for"] == "198.51.100.7, 127.0.0.1"
        assert "x-admin" not in headers
        [refused] = await exchange_raw(stand, start + b"\r\n" + chunks + b"Authorization: " + token + b"\r\n\r\n")
        assert refused["code"] == "unauthenticated"


@pytest.mark.parametrize("endless", [b"0\r\nX-Endless: ", b"0\r\n" + b"X: y\r\n" * 8, b"3;extension="])
async def test_what_is_neither_head_nor_body_is_bounded(folder: Path, endless: bytes) -> None:
    def pour(port: int, token: str) -> int:
        head = f"POST /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
        more = b"X: y\r\n" * 10_000 if endless.endswith(b"\r\n") else b"x" * 60_000
        sent = 0
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client, contextlib.suppress(ConnectionError):
            client.sendall(head.encode() + b"3\r\nabc\r\n" + endless)
            while sent < 64 << 20:
                client.sendall(more)
                sent += len(more)
        return sent

    async with in_front_of(mirror, folder) as (stand, _):
        token = stand.bearer("ann")["authorization"]
        assert await anyio.to_thread.run_sync(pour, stand.port, token) < 64 << 20


async def test_a_body_of_many_pieces_is_not_taken_for_trailers(folder: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b"x" * 1000

    async with in_front_of(mirror, folder) as (stand, http):
        response = await http.post("/orders/1", headers=stand.bearer("ann"), content=pieces())
        assert len(response.json()["body"]) == 300_000


async def test_an_upgrade_that_is_not_made_is_answered_plainly_and_ends_the_connection(folder: Path) -> None:
    async with in_front_of(mirror, folder) as (stand, _):
        token = stand.bearer("ann")["authorization"].encode()
        fields = b"Host: x\r\nAuthorization: " + token + b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        [seen] = await exchange_raw(stand, b"GET /orders/1 HTTP/1.1\r\n" + fields + b"HTTP2-Settings: x\r\n\r\n")
        assert "connection: close" in seen["answered"]
        assert not {"upgrade", "http2-settings", "connection"} & dict(seen["headers"]).keys()


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
async def test_nothing_that_the_edge_adds_is_mirrored_to_the_client(folder: Path, method: str) -> None:
    async with in_front_of(mirror, folder) as (stand, _):
        token = stand.bearer("ann")["authorization"]
        request = f"{method} /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n"
        [seen] = await exchange_raw(stand, request.encode())
        assert (seen["status"], seen["code"]) == (405, "method_not_allowed")
        assert "allow: get, " in seen["answered"]


async def test_the_head_of_a_request_is_bounded_in_size(folder: Path) -> None:
    def endless(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            with contextlib.suppress(ConnectionError):
                client.sendall(b"GET /orders/1 HTTP/1.1\r\nHost: x\r\nX-Endless: " + b"x" * 100_000)
            return client.recv(100)

    async with edge(folder, 9) as stand:
        assert (await anyio.to_thread.run_sync(endless, stand.port)).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("beginning", [b"", b"GET /orders/1 HTTP/1.1\r\nHost:"])
async def test_the_head_of_a_request_is_bounded_in_time(
    folder: Path, beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_S_MAX", 0.2)
    async with edge(folder, 9) as stand:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(beginning)
        with anyio.fail_after(5):
            answered = await reader.read()
        assert answered.startswith(b"HTTP/1.1 408 ") if beginning else answered == b""
        writer.close()


async def test_a_head_that_cannot_be_made_takes_no_connection_with_it() -> None:
    """What is signed is signed once a connection is there; where that fails, the only slot of the address is free again."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    def fails() -> bytes:
        raise ValueError("no header today")

    async with tcp(silent) as port:
        pools = Pools(Upstream(connections_max=1, waiters_max=0))
        forwarder, address = Forwarder(pools), f"127.0.0.1:{port}"
        for _ in range(2):
            with pytest.raises(ValueError, match="no header today"):
                await forwarder.open((address,), Sending(b"GET / HTTP/1.1\r\n", fails, head_only=False, done=True))
            await eventually(lambda: pools.of(address).open == 0)
        exchange = await forwarder.open(
            (address,), Sending(b"GET / HTTP/1.1\r\n", lambda: b"\r\n", head_only=False, done=True)
        )
        exchange.end()
        pools.close()
