"""A route that is gone straight to answers as it does through the router, and everything else is left to the router."""

from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import REGISTRY
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from foundation.http import HttpClient, application
from foundation.problems import Code, refuse
from foundation.straight import Straight

pytestmark = pytest.mark.anyio


class Table:
    """An endpoint that answers with its name, or breaks as its name says."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path_params"]["table"]
        if name == "breaks":
            raise RuntimeError("before the answer")
        if name == "leaves":
            raise ClientDisconnect
        if name == "half":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            raise RuntimeError("within the answer")
        await PlainTextResponse(f"{scope['method']} {name}")(scope, receive, send)


async def nested(request: Request) -> Response:
    return PlainTextResponse(f"nested {request.path_params['function']}")


async def resolve(request: Request) -> Response:
    if await request.body() == b"no":
        raise refuse(Code.CONFLICT, "not this one", retry_after_s=3)
    return PlainTextResponse("resolved")


STRAIGHT = [
    Route("/records/{table}", Table(), methods=["GET", "POST"]),
    Route("/v1/resolve", resolve, methods=["POST"]),
]
ROUTES = [
    *STRAIGHT,
    Route("/records/rpc/{function}", nested, methods=["GET"]),
    Route("/v1/{function}", nested, methods=["PUT"]),
]


@pytest.fixture(params=["straight", "routed"])
async def http(request: pytest.FixtureRequest) -> AsyncIterator[HttpClient]:
    app = application(ROUTES, ready=lambda: None, straight=STRAIGHT if request.param == "straight" else ())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with HttpClient(transport=transport, base_url="http://cell") as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/records/notes", 200, "GET notes"),
        ("POST", "/records/notes?x=/y", 200, "POST notes"),
        ("HEAD", "/records/notes", 200, ""),
        ("GET", "/records/a%20b", 200, "GET a b"),
        ("GET", "/records/rpc/sum", 200, "nested sum"),
        ("DELETE", "/records/notes", 405, None),
        ("GET", "/records/", 404, None),
        ("GET", "/records", 404, None),
        ("GET", "/records/notes/more", 404, None),
        ("GET", "/other/records/notes", 404, None),
        ("GET", "/records/breaks", 500, None),
        ("GET", "/records/leaves", 400, ""),
        ("GET", "/healthz", 200, None),
        ("POST", "/v1/resolve", 200, "resolved"),
        ("GET", "/v1/resolve", 405, None),
        ("POST", "/v1/resolve/", 307, None),
    ],
)
async def test_it_answers_as_the_router_does(
    http: HttpClient, method: str, path: str, status: int, text: str | None
) -> None:
    answer = await http.request(method, path)
    assert answer.status_code == status
    assert text is None or answer.text == text
    if status >= 404:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
    assert ("allow" in answer.headers) == (status == 405)


async def test_a_refusal_is_a_problem_document_either_way(http: HttpClient) -> None:
    answer = await http.post("/v1/resolve", content=b"no")
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (409, "conflict", "3")


async def test_requests_are_counted_by_the_route_either_way(http: HttpClient) -> None:
    before = counted()
    await http.get("/records/notes")
    assert counted() == before + 1


def counted() -> float:
    labels = {"route": "/records/{table}", "method": "GET", "status": "200"}
    return REGISTRY.get_sample_value("domicile_requests_total", labels) or 0.0


async def test_an_answer_that_broke_is_not_answered_once_more() -> None:
    with pytest.raises(RuntimeError, match="within"):
        await application(ROUTES, ready=lambda: None, straight=STRAIGHT)(
            {
                "type": "http",
                "method": "GET",
                "path": "/records/half",
                "root_path": "",
                "headers": [],
                "query_string": b"",
            },
            _nothing,
            _dropped,
        )


async def _nothing() -> dict[str, object]:
    return {"type": "http.disconnect"}


async def _dropped(message: object) -> None:
    pass


@pytest.mark.parametrize("path", ["/records/{table}/{id}", "/records/{table:path}", "/{a}/{b}", "/{a}/b"])
def test_only_plain_paths_and_those_of_one_last_name_can_be_gone_straight_to(path: str) -> None:
    with pytest.raises(ValueError, match="form"):
        Straight([Route(path, Table(), methods=["GET"])], Table(), _never)


async def _never(*_: object) -> None:
    raise AssertionError
