"""The HTTP shell: limits, problem documents, service callers, metrics, bounded clients."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from foundation import logs
from foundation.clock import ManualClock, SystemClock
from foundation.http import (
    JWKS_BYTES_MAX,
    HttpClient,
    ServiceAuth,
    application,
    bearer,
    body_json,
    client,
    fetch_jwks_url,
    json_response,
    query_int,
    token_verifier,
    trace_of,
)
from foundation.problems import Code, Problem, refuse
from foundation.server import Drain
from foundation.tokens import JwksUnavailable
from tests.stands.fake_cell import http_to
from tests.stands.servers import serving
from tests.stands.service_tokens import ServiceIssuer

pytestmark = pytest.mark.anyio


class Body(msgspec.Struct, forbid_unknown_fields=True):
    number: int
    free: Any = None


class OwnRefusal(Exception):
    pass


async def take(request: Request) -> Response:
    return json_response({"number": (await body_json(request, Body, bytes_max=100_000)).number})


async def page(request: Request) -> Response:
    return json_response({"limit": query_int(request, "limit", 50, low=1, high=200)})


async def fault(request: Request) -> Response:
    raise ValueError("anna@example.de")


async def own(request: Request) -> Response:
    raise OwnRefusal


async def refused(request: Request) -> Response:
    raise refuse(Code.RATE_LIMITED, "slower", retry_after_s=3)


async def traced(request: Request) -> Response:
    return json_response({"trace": trace_of(request).trace_id})


async def by_id(request: Request) -> Response:
    return json_response({})


def on_own(request: Request, exc: Exception) -> Response:
    return Response("own", status_code=418)


def app(drain: Drain | None = None) -> Any:
    state = drain or Drain()
    routes = [
        Route("/take", take, methods=["POST"]),
        Route("/page", page),
        Route("/fault", fault),
        Route("/own", own),
        Route("/refused", refused),
        Route("/traced", traced),
        Route("/things/{id}", by_id),
    ]
    return application(routes, ready=state.problem, exception_handlers={OwnRefusal: on_own})


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:  # noqa: TID251
    async with http_to(app(), raise_app_exceptions=False) as asking:
        yield asking


def code(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["status"] == answer.status_code
    return str(answer.json()["code"])


async def test_a_body_is_read_up_to_its_bound_and_no_further(http: httpx.AsyncClient) -> None:  # noqa: TID251
    assert (await http.post("/take", content=b'{"number": 1, "free": "' + b"x" * 90_000 + b'"}')).status_code == 200
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 10_000
            yield b"x" * 10_000

    async with serving(app()) as port, HttpClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as real:
        try:
            answer = await real.post("/take", content=endless(), timeout=5)
            assert code(answer) == "too_large"
        except (httpx.WriteError, httpx.ReadError):
            pass  # the server closed while the rest was being sent: the answer may be lost with the connection
    assert read < 50_000_000
    answer = await http.post("/take", content=b"x" * 100_001)
    assert (answer.status_code, code(answer)) == (413, "too_large")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"number": "1"}',
        b'{"number": 1, "more": 1}',
        b'{"number": 1, "free": ' + b"[" * 90_000,
    ],
)
async def test_a_body_of_another_shape_is_a_bad_request(http: httpx.AsyncClient, content: bytes) -> None:  # noqa: TID251
    answer = await http.post("/take", content=content)
    assert (answer.status_code, code(answer)) == (400, "bad_request")


@pytest.mark.parametrize("text", ["0", "201", "-1", "+1", "1.0", "", "²", "x", "1" * 5000, "0x10"])
async def test_a_number_out_of_bounds_is_a_bad_request(http: httpx.AsyncClient, text: str) -> None:  # noqa: TID251
    answer = await http.get("/page", params={"limit": text})
    assert (answer.status_code, code(answer)) == (400, "bad_request")


async def test_numbers_within_bounds_and_none_at_all_are_taken(http: httpx.AsyncClient) -> None:  # noqa: TID251
    assert [(await http.get(f"/page{query}")).json()["limit"] for query in ("", "?limit=1", "?limit=200")] == [
        50,
        1,
        200,
    ]


async def test_refusals_faults_and_misses_are_problem_documents(http: httpx.AsyncClient) -> None:  # noqa: TID251
    answer = await http.get("/refused")
    assert (answer.status_code, code(answer), answer.headers["retry-after"]) == (429, "rate_limited", "3")
    assert code(await http.get("/nowhere")) == "not_found"
    wrong = await http.get("/take")
    assert (wrong.status_code, code(wrong), wrong.headers["allow"]) == (405, "method_not_allowed", "POST")
    broken = await http.get("/fault")
    assert (broken.status_code, code(broken)) == (500, "internal")
    assert "anna" not in broken.text


async def test_a_caller_that_leaves_half_way_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def reads(request: Request) -> Response:
        begun.set()
        try:
            return json_response((await body_json(request, Body)).number)
        finally:
            ended.set()

    async with serving(application([Route("/", reads, methods=["POST"])], ready=lambda: None)) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        await asyncio.wait_for(begun.wait(), 5)
        writer.close()
        await asyncio.wait_for(ended.wait(), 5)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_service_may_handle_exceptions_of_its_own(http: httpx.AsyncClient) -> None:  # noqa: TID251
    assert (await http.get("/own")).status_code == 418


async def test_a_callers_trace_is_continued(http: httpx.AsyncClient) -> None:  # noqa: TID251
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = await http.get("/traced", headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})
    assert answer.json()["trace"] == trace_id
    assert len((await http.get("/traced")).json()["trace"]) == 32


async def test_requests_are_counted_by_route_pattern_not_by_path(http: httpx.AsyncClient) -> None:  # noqa: TID251
    await http.get("/things/anna@example.de")
    await http.get("/no/anna@example.de")
    text = (await http.get("/metrics")).text
    assert 'route="/things/{id}"' in text
    assert 'route="unmatched"' in text
    assert "anna" not in text


async def test_a_draining_process_is_alive_and_not_ready() -> None:
    drain = Drain()
    async with http_to(app(drain)) as http:
        assert (await http.get("/readyz")).status_code == 200
        drain.begun = True
        answer = await http.get("/readyz")
        assert (answer.status_code, code(answer)) == (503, "not_ready")
        assert (await http.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic x", None),
        ("Bearer a.b", "a.b"),
        ("bearer  a", "a"),
    ],
)
def test_only_bearer_credentials_are_read(header: str | None, token: str | None) -> None:
    assert bearer(header) == token


# --- service callers ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, ServiceIssuer]]:  # noqa: TID251
    issuer = ServiceIssuer(tmp_path)
    async with client() as outward:
        auth = ServiceAuth(token_verifier([issuer.issuer], outward, SystemClock()))

        async def whoami(request: Request) -> Response:
            caller = await auth.caller(request)
            caller.require("resolver", "operator")
            return json_response({"actor": caller.actor})

        async with http_to(application([Route("/", whoami)], ready=lambda: None)) as asking:
            yield asking, issuer


async def test_a_service_is_known_by_its_token_and_needs_its_role(
    guarded: tuple[httpx.AsyncClient, ServiceIssuer],  # noqa: TID251
) -> None:
    http, issuer = guarded
    assert (await http.get("/", headers=issuer.headers("gateway:eu", ["resolver"]))).json() == {"actor": "gateway:eu"}
    for headers, status in [
        ({}, 401),
        ({"authorization": "Bearer x"}, 401),
        ({"authorization": f"Bearer {issuer.token('gateway:eu', ['resolver'], ttl_s=-60)}"}, 401),
        (issuer.headers("gateway:eu", ["rules"]), 403),
        (issuer.headers("gateway:eu", []), 403),
        ({"authorization": f"Bearer {issuer.token('gateway:eu', 'resolver')}"}, 403),
    ]:
        answer = await http.get("/", headers=headers)
        assert answer.status_code == status
        assert ("www-authenticate" in answer.headers) == (status == 401)


async def test_keys_that_cannot_be_had_mean_not_ready_rather_than_wrong(tmp_path: Path) -> None:
    issuer = ServiceIssuer(tmp_path)
    Path(issuer.issuer.jwks).unlink()
    async with client() as outward:
        auth = ServiceAuth(token_verifier([issuer.issuer], outward, SystemClock()))

        async def whoami(request: Request) -> Response:
            return json_response({"actor": (await auth.caller(request)).actor})

        async with http_to(application([Route("/", whoami)], ready=lambda: None)) as http:
            answer = await http.get("/", headers=issuer.headers("gateway:eu", ["resolver"]))
    assert (answer.status_code, code(answer)) == (503, "not_ready")


# --- calling -----------------------------------------------------------------------------------------------------------------


async def test_a_client_waits_no_longer_than_its_bound_and_follows_no_redirect() -> None:
    async def never(request: Request) -> Response:
        await asyncio.Event().wait()
        return Response()

    async def away(request: Request) -> Response:
        return Response(status_code=307, headers={"location": "/never"})

    silent = application([Route("/never", never), Route("/away", away)], ready=lambda: None)
    async with serving(silent) as port, client(f"http://127.0.0.1:{port}", total_s=0.2) as http:
        assert (await http.get("/away")).status_code == 307
        with pytest.raises(httpx.ReadTimeout):
            await http.get("/never")


async def test_a_client_presents_the_token_that_its_file_holds_now(tmp_path: Path) -> None:
    async def echo(request: Request) -> Response:
        return json_response(request.headers["authorization"])

    issuer = ServiceIssuer(tmp_path)
    token = issuer.token_file(tmp_path / "token", "service:orders", [])
    async with (
        serving(application([Route("/", echo)], ready=lambda: None)) as port,
        client(f"http://127.0.0.1:{port}", token=token) as http,
    ):
        assert (await http.get("/")).json() == f"Bearer {(tmp_path / 'token').read_text()}"
        (tmp_path / "next").write_text("next")
        (tmp_path / "next").replace(tmp_path / "token")
        assert (await http.get("/")).json() == "Bearer next"


async def test_a_client_gives_an_answer_out_as_it_came_to_who_asks_for_that() -> None:
    async def packed(request: Request) -> Response:
        return Response(gzip.compress(b"plain"), headers={"content-encoding": "gzip"})

    async with (
        serving(application([Route("/", packed)], ready=lambda: None)) as port,
        client(f"http://127.0.0.1:{port}") as http,
    ):
        assert (await http.get("/")).content == b"plain"
        async with http.stream("GET", "/") as answer:
            assert gzip.decompress(b"".join([piece async for piece in answer.aiter_raw()])) == b"plain"


async def test_a_key_set_that_is_missing_or_too_large_is_unavailable() -> None:
    async def large(request: Request) -> Response:
        return Response(b" " * (JWKS_BYTES_MAX + 1))

    async with serving(application([Route("/large", large)], ready=lambda: None)) as port, client() as http:
        for path in ("large", "nowhere"):
            with pytest.raises(JwksUnavailable):
                await fetch_jwks_url(http, f"http://127.0.0.1:{port}/{path}")()
    async with client() as http:
        with pytest.raises(JwksUnavailable):
            await fetch_jwks_url(http, f"http://127.0.0.1:{port}/large")()


def test_a_manual_clock_moves_when_told_to() -> None:
    clock = ManualClock(100.0)
    clock.advance(2.5)
    assert (clock.unix_s(), clock.monotonic_s()) == (102.5, 2.5)
    assert logs.get("x") is not None
    assert Problem(code=Code.INTERNAL, detail="").status == 500
