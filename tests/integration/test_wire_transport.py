"""What lies beneath httpx between the product's processes: whole answers, kept connections, and httpx's own exceptions where it breaks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
from starlette.types import Receive, Scope, Send

from foundation.http import HttpClient, client
from foundation.wire import transport
from tests.stands.edge import tcp
from tests.stands.servers import free_port, serving
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Service:
    """Answers each request with the same bytes; counts connections and keeps what it was asked."""

    def __init__(self, answer: bytes = OK, *, requests_of_one: int = 1_000_000) -> None:
        self.connections = 0
        self.asked: list[bytes] = []
        self._answer = answer
        self._requests_of_one = requests_of_one

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for _ in range(self._requests_of_one):
            head = await reader.readuntil(b"\r\n\r\n")
            _, found, length = head.partition(b"content-length: ")
            body = await reader.readexactly(int(length.split(b"\r\n")[0])) if found else b""
            self.asked.append(head + body)
            writer.write(self._answer)


@asynccontextmanager
async def asking(handler: Handler, *, total_s: float = 5.0, connections_max: int = 32) -> AsyncIterator[HttpClient]:
    async with (
        tcp(handler) as port,
        client(f"http://127.0.0.1:{port}", total_s=total_s, connections_max=connections_max) as http,
    ):
        yield http


async def test_a_connection_is_kept_and_a_request_goes_out_as_httpx_made_it() -> None:
    service = Service()
    async with asking(service) as http:
        for _ in range(3):
            answer = await http.post("/a%2Fb?c=%20d", content=b"body", headers={"x-note": "1"})
            assert (answer.status_code, answer.text) == (200, "ok")
        await http.get("/plain")
    assert service.connections == 1
    assert service.asked[0].startswith(b"POST /a%2Fb?c=%20d HTTP/1.1\r\n")
    assert service.asked[0].endswith(b"content-length: 4\r\n\r\nbody")
    assert b"x-note: 1\r\n" in service.asked[0].lower()
    assert b"content-length" not in service.asked[3].lower()


async def test_answers_of_all_kinds_are_whole() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"1"), (b"x-a", b"2")]})
        for _ in range(40):
            await send({"type": "http.response.body", "body": b"x" * 50_000, "more_body": True})
        await send({"type": "http.response.body", "body": b"end"})

    async with serving(app) as port, client(f"http://127.0.0.1:{port}") as http:
        answer = await http.get("/")
        assert len(answer.content) == 2_000_003
        assert answer.headers.get_list("x-a") == ["1", "2"]
        assert (await http.head("/")).content == b""
    async with asking(Service(b"HTTP/1.1 204 No Content\r\n\r\n")) as http:
        assert [(await http.delete("/")).status_code for _ in range(2)] == [204, 204]


async def test_an_answer_that_its_connection_ends_is_whole_and_the_connection_is_not_used_again() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
        writer.close()

    async with asking(handler) as http:
        assert [(await http.get("/")).text for _ in range(2)] == ["until the end"] * 2


async def test_what_httpx_s_callers_expect_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    async with client(f"http://127.0.0.1:{free_port()}") as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("/")

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with asking(silent, total_s=0.2) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.get("/")
    for broken in (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", b"nonsense\r\n\r\n"):
        async with asking(Service(broken)) as http:
            with pytest.raises(httpx.RemoteProtocolError):
                await http.get("/")

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK[:-1])
        writer.close()

    async with asking(cut) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/")
    async with asking(Service()) as http:
        with pytest.raises(httpx.LocalProtocolError):
            await http.get("/", headers={"x-a": "b\r\nx-c: d"})
    monkeypatch.setattr(transport, "REQUEST_BYTES_MAX", 1)
    async with asking(Service()) as http:
        with pytest.raises(httpx.LocalProtocolError):
            await http.post("/", content=b"ab")
    monkeypatch.setattr(transport, "ANSWER_BYTES_MAX", 1)
    async with asking(Service()) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/")


async def test_a_connection_that_ended_by_the_time_costs_an_idempotent_request_nothing() -> None:
    """The service closes after its first answer, at the moment in which it is asked again."""
    served = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        served += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with asking(once) as http:
        for _ in range(3):
            assert (await http.get("/")).text == "ok"
        with pytest.raises(httpx.NetworkError):
            await http.post("/", content=b"x")
    assert served == 3


async def test_exchanges_are_bounded_and_the_others_wait_their_turn() -> None:
    inside = most = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.02)
        inside -= 1
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async with serving(app) as port, client(f"http://127.0.0.1:{port}", connections_max=3) as http:
        answers = await asyncio.gather(*(http.get("/") for _ in range(12)))
    assert [answer.status_code for answer in answers] == [200] * 12
    assert most == 3
    async with asking(Service(b""), total_s=0.2, connections_max=1) as http:
        found = await asyncio.gather(http.get("/"), http.get("/"), return_exceptions=True)
    assert {type(one) for one in found} <= {httpx.PoolTimeout, httpx.ReadTimeout}


async def test_an_exchange_that_is_given_up_leaves_nothing_to_the_next() -> None:
    begun = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["raw_path"] == b"/slow":
            begun.set()
            await asyncio.sleep(0.3)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["raw_path"]})

    async with serving(app) as port, client(f"http://127.0.0.1:{port}", connections_max=1) as http:
        assert (await http.get("/first")).text == "/first"
        with anyio.move_on_after(0.05) as gone:
            await http.get("/slow")
        assert gone.cancelled_caught
        await eventually(begun.is_set)
        for _ in range(3):
            assert (await http.get("/next")).text == "/next"
