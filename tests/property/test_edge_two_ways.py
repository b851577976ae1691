"""Whatever is asked, and whatever the service answers: the way without a task and the way by one leave the same behind.

The same bytes are given to two gateways that differ in one thing: one hands every request to a task. Compared is everything that left:
each byte to the client, each byte to the service (decisions opened, with both MACs checked), how connections ended, what was recorded and
counted, and what is still held.
"""

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from directory.placement.core import State
from gateway.edge.door import EdgeDoor
from gateway.edge.limits.table import Table
from gateway.edge.ports import Home, Homeless
from gateway.settings import Budget, Limits
from routing_rules.rules import load
from tests.stands.compiled import COMPILED
from tests.stands.edge import People, placement, policy_text
from tests.stands.edge_in_memory import OK, Answer, Edge, Seen, World, bearer, counted, since

ADDRESSES = {"eu-de": "127.0.0.1:7001", "us-va": "127.0.0.1:7002"}
POLICY = policy_text(ADDRESSES, ADDRESSES)
RULES = [load(POLICY), load(POLICY.replace("[product]\n", '[product]\nsession_cookie = "__Host-session"\n'))]
ANN = placement(epoch=7)
HOMES: dict[str, Home] = {
    "ann": ANN,
    "ben": placement("us-va"),
    "cat": placement(state=State.FROZEN),
    "dan": placement(state=State.RESERVED),
    "eve": Homeless.NONE,
    "fay": Homeless.UNKNOWN,
    "gil": placement(services=("records",)),
    "hal": placement(state=State.ERASED),
}
TRUTH = [HOMES, HOMES | {"ann": placement("us-va", epoch=8)}, HOMES | {"ann": placement(epoch=8), "eve": placement()}]
FEW = Limits(subject=Budget(per_s=1, burst=8), address=Budget(per_s=3, burst=12))


class Script(msgspec.Struct, frozen=True):
    """A world, what its service answers in turn, what is asked and in which pieces, and whether the client leaves before the last answer
    can be there."""

    world: World
    answers: list[Answer]
    asked: list[tuple[bytes, ...]]
    leaves: bool = False


def nothing_comes_again(_: bytes) -> None:
    """Every head is read."""


class Walking(EdgeDoor):
    """Every request is a task's."""

    def answer_now(self, *_: Any, **__: Any) -> None:
        return None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.looks = nothing_comes_again


class Anew(EdgeDoor):
    """Every head is read, whatever came before; so is every answer's."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.looks = nothing_comes_again

    def answer_now(self, *arguments: Any, **named: Any) -> Any:
        flight = super().answer_now(*arguments, **named)
        if flight is not None:
            flight.connection.landing = None
        return flight


WAYS = (EdgeDoor, Anew, Walking)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("people"))


# --- what is asked -----------------------------------------------------------------------------------------------------------

PATHS = (
    "/orders/1", "/orders/1?a=b&a=%20", "/orders", "/records/notes?id=eq.1", "/orders/%2e%2e/x", "/orders/a/../b", "/orders/a%2Fb",
    "/nothing", "/", "*", "/orders/health", "/orders/sign-up?residence=DE", "http://shop/orders/1", "/healthz", "/orders/#x", "/orders/{1}",
)  # fmt: skip
FIELDS = (
    "Host: other", "Connection: close", "Connection: x-secret", "X-Secret: 1", "Cookie: a=b", "Cookie: __Host-session={token}",
    "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Traceparent: nonsense", "Via: 1.0 cache",
    "X-Forwarded-For: 10.0.0.9", "X_Forwarded_For: 10.0.0.9", "Forwarded: for=10.0.0.9", "X-Forwarded-Host: evil", "Domicile-For: x",
    "Domicile-Hop: x", "Domicile-Decision: x", "Domicile_Epoch: 9", "X-HTTP-Method-Override: DELETE", "Upgrade: websocket",
    "Connection: upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "TE: trailers", "Accept: a/b \t",
    "X-Empty:", "X Bad: 1", "Transfer-Encoding: gzip", "Content-Length: 1",
)  # fmt: skip
METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "REPORT")
BODIES = ("none", "length", "large", "chunks", "expects")


@st.composite
def requests(draw: st.DrawFn, people: People) -> bytes:
    """Usual in all but one or two things, if in any, so that most get as far as the service."""
    odd = draw(st.sets(st.sampled_from(["sub", "method", "path", "version", "host", "fields", "body"]), max_size=2))
    sub = draw(st.sampled_from([*HOMES, "nobody", ""])) if "sub" in odd else "ann"
    token = {"": b"", "nobody": b"Bearer x"}[sub] if sub in ("", "nobody") else bearer(people, sub)
    method = draw(st.sampled_from(METHODS if "method" in odd else METHODS[:5]))
    path = draw(st.sampled_from(PATHS if "path" in odd else PATHS[:3]))
    version = draw(st.sampled_from(["1.0", "2.0"])) if "version" in odd else "1.1"
    lines = [f"{method} {path} HTTP/{version}".encode()]
    if "host" not in odd:
        lines.append(b"Host: shop")
    if token:
        lines.append(b"Authorization: " + token)
    more = draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3)) if "fields" in odd else ["Accept: a/b \t"]
    lines += [line.replace("{token}", token.decode().removeprefix("Bearer ")).encode() for line in more]
    usual = "length" if method in ("POST", "PUT") else "none"
    framing, body = _body(draw(st.sampled_from(BODIES)) if "body" in odd else usual)
    return b"\r\n".join([*lines, *framing, b"", b""]) + body


def _body(kind: str) -> tuple[list[bytes], bytes]:
    match kind:
        case "length":
            return [b"Content-Length: 5"], b"hello"
        case "large":
            return [b"Content-Length: 70000"], b"y" * 70_000
        case "chunks":
            return [b"Transfer-Encoding: chunked"], b"5;a=b\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n"
        case "expects":
            return [b"Content-Length: 5", b"Expect: 100-continue"], b"hello"
        case _:
            return [], b""


def cut(draw: st.DrawFn, whole: bytes) -> tuple[bytes, ...]:
    """In one piece, mostly."""
    cuts = draw(st.lists(st.integers(1, max(1, len(whole) - 1)), max_size=2)) if not draw(st.integers(0, 2)) else []
    bounds = [0, *sorted(cuts), len(whole)]
    return tuple(piece for piece in (whole[start:end] for start, end in itertools.pairwise(bounds)) if piece)


# --- what is answered --------------------------------------------------------------------------------------------------------

REFUSED = b"HTTP/1.1 409 Conflict\r\ndomicile-refusal: %b\r\ncontent-length: 2\r\n\r\nno"
ANSWERS = (
    OK, OK,
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Double: a\r\nX-Double: b\r\nConnection: x-secret\r\nX-Secret: 1\r\n\r\nhello",
    b"HTTP/1.1 201 Created\r\nlocation: /orders/2\r\ndomicile-epoch: 99\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nx-trailer: 1\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\ndate: yesterday\r\nserver: x\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nlate",
    b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbye", b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nold",
    b"HTTP/1.1 200 OK\r\n\r\nto the end", b"HTTP/1.1 599 Mine\r\ncontent-length: 0\r\n\r\n", OK + OK,
    b"HTTP/1.1 200 OK\r\ncontent-length: 3 \r\n\r\nbad", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"nonsense\r\n\r\n", b"",
    b"HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n" + b"z" * 70_000, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
    REFUSED % b"stale_epoch", REFUSED % b"stale_epoch", REFUSED % b"cell_behind", REFUSED % b"other",
    b"HTTP/1.1 200 OK\r\ndomicile-refusal: stale_epoch\r\ncontent-length: 0\r\n\r\n",
)  # fmt: skip


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    whole = draw(st.sampled_from(ANSWERS))
    return Answer(cut(draw, whole), draw(st.sampled_from(["go on", "go on", "go on", "leave", "reset"])))


@st.composite
def scripts(draw: st.DrawFn, people: People) -> Script:
    """The first request is plain and answered with OK: a connection to the service lies idle then."""
    world = World(
        rules=draw(st.sampled_from(RULES)),
        people=people,
        cached=dict(HOMES),
        truth=dict(draw(st.sampled_from(TRUTH))),
        limits=draw(st.sampled_from([None, None, FEW])),
        own=draw(st.booleans()),
    )
    plain = b"GET /orders/1 HTTP/1.1\r\nHost: shop\r\nAuthorization: %b\r\n\r\n" % bearer(people, "ann")
    asked: list[tuple[bytes, ...]] = [(plain,)]
    for _ in range(draw(st.integers(1, 2))):
        request = draw(requests(people))
        asked.append(cut(draw, request + plain if draw(st.booleans()) else request))
        if draw(st.booleans()):  # the same but for its path
            asked += [(request,), (request.replace(b" /orders/1", b" /orders/2?c", 1),)]
    replies = [Answer((OK,)), *draw(st.lists(answers(), min_size=1, max_size=5))]
    return Script(world, replies, asked, draw(st.integers(0, 9)) == 0)


def run(script: Script, http: type[EdgeDoor]) -> tuple[Seen, Any, Edge]:
    before = counted()
    edge = Edge(script.world, script.answers, http)
    try:
        for pieces in script.asked[:-1]:
            edge.ask(*pieces)
        if script.leaves:
            edge.ask(*script.asked[-1], seconds=0.0)
            edge.leave()
        else:
            edge.ask(*script.asked[-1])
        return edge.seen(), since(before), edge
    finally:
        edge.close()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_all_ways_leave_the_same_behind(people: People, data: st.DataObject) -> None:
    script = data.draw(scripts(people))
    walked, by_walk, _ = run(script, Walking)
    for http in (EdgeDoor, Anew):
        flown, by_flight, _ = run(script, http)
        if script.leaves:
            # It may be gone a turn of the loop before or after something goes out, so what it has missed may differ.
            assert flown.client.startswith(walked.client) or walked.client.startswith(flown.client)
            assert (flown.recorded, walked.under_way) == (walked.recorded, 0)
        else:
            assert flown == walked
            assert by_flight == by_walk
        assert flown.under_way == 0


def plainly(people: People, times: int, *, own: bool = False) -> Script:
    world = World(rules=RULES[0], people=people, cached=dict(HOMES), truth=dict(HOMES), own=own)
    plain = b"GET /orders/1 HTTP/1.1\r\nHost: shop\r\nAuthorization: %b\r\n\r\n" % bearer(people, "ann")
    return Script(world, [], [(plain,)] * times)


def test_what_is_plain_goes_without_a_task_and_by_one_where_it_has_to(people: People) -> None:
    """Else the two ways above would be one."""
    script = plainly(people, 4)
    assert [(edge.walked, edge.heads_read) for edge in (run(script, http)[2] for http in WAYS)] == [
        (1, 2),
        (1, 4),
        (4, 4),
    ]


def test_a_persons_own_requests_are_on_record_once_by_either_way_and_only_where_settings_say_so(people: People) -> None:
    for http in (EdgeDoor, Walking):
        assert run(plainly(people, 4), http)[0].accesses == []
        records = run(plainly(people, 4, own=True), http)[0].accesses
        subject = ANN.subject_id
        assert [(one["actor"], one["subject_id"], one["details"]["verb"]) for one in records] == [
            (subject, subject, "read")
        ] * 4


def test_one_that_came_before_and_finds_no_idle_connection_counts_once_against_limits(people: People) -> None:
    """The service closes each connection after its answer, but for the first two."""
    plain = plainly(people, 10)
    world = msgspec.structs.replace(plain.world, limits=Limits(subject=Budget(per_s=1, burst=8), parts=1))
    script = Script(world, [Answer((OK,))] * 2 + [Answer((OK,), "leave")] * 8, plain.asked)
    seen, _, edge = run(script, EdgeDoor)
    assert (edge.walked, edge.heads_read) == (8, 9)
    assert seen == run(script, Walking)[0]
    assert (seen.client.count(b"HTTP/1.1 200"), seen.client.count(b"HTTP/1.1 429")) == (8, 2)


@pytest.mark.parametrize("kind", ["address", "subject"])
def test_one_that_is_beyond_a_limit_asks_its_table_once(
    people: People, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Whichever ways are tried with it."""
    looked: list[str] = []
    take = Table.take

    def looking(table: Table, name: str, now_ms: float) -> float:
        looked.append(table.kind)
        return take(table, name, now_ms)

    monkeypatch.setattr(Table, "take", looking)
    plain = plainly(people, 10)
    budget = Budget(per_s=1, burst=8)
    limits = Limits(address=budget, parts=1) if kind == "address" else Limits(subject=budget, parts=1)
    world = msgspec.structs.replace(plain.world, limits=limits)
    for http in WAYS:
        looked.clear()
        seen, _, _ = run(msgspec.structs.replace(plain, world=world), http)
        assert (seen.client.count(b"HTTP/1.1 200"), seen.client.count(b"HTTP/1.1 429")) == (8, 2)
        if not COMPILED:  # else what asks the table sees no other method in its place; who asked twice would have had half as many answers
            assert looked == [kind] * 10


# --- what comes between ------------------------------------------------------------------------------------------------------


def one_of(people: People, path: str, *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: shop", *lines, f"Authorization: {bearer(people, 'ann').decode()}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def paths_asked(edge: Edge) -> list[bytes]:
    return [one.split(b" ", 2)[1] for one in edge.seen().asked]


@pytest.mark.parametrize("known", [True, False])
def test_what_waits_behind_another_request_goes_before_what_comes_later_and_is_not_taken_for_it(
    people: People, known: bool
) -> None:
    """The later one arrives as reading goes on, before what is held has been looked at. `known`: its like came before."""
    first = one_of(people, "/nothing")
    held, later = (one_of(people, f"/orders/{name}", f"Accept: text/{name}") for name in ("held", "later"))
    edge = Edge(plainly(people, 0).world, [])
    try:
        edge.ask(*[later if known else one_of(people, "/orders/other")] * 3)
        edge.loop.call_soon(edge.client.give, first + held)
        edge.ask(later, later)
        asked = edge.seen().asked[3:]
        assert paths_asked(edge)[3:] == [b"/orders/held", b"/orders/later", b"/orders/later"]
        assert [b"accept: text/later" in one.lower() for one in asked] == [False, True, True]
        assert edge.seen().client.count(b"HTTP/1.1 200") == 6
    finally:
        edge.close()


def landing(edge: Edge, then: Callable[[], None]) -> None:
    """Calls `then` in the turn in which the next answer has landed, before that goes out."""
    door, land = edge._door, edge._door.land

    def landed(*arguments: Any, **named: Any) -> None:
        door.land = land
        land(*arguments, **named)
        then()

    door.land = landed


def test_a_client_that_is_full_as_an_answer_goes_out_has_its_next_request_read_from_its_beginning(
    people: People,
) -> None:
    plain = one_of(people, "/orders/plain")
    write = one_of(people, "/orders/write", "Content-Length: 9", method="POST", body=b"GET / HTT")
    edge = Edge(plainly(people, 0).world, [])
    try:
        edge.ask(*[plain] * 3)
        door, client, sends = edge._door, edge.client, edge.client.write

        def fills(data: bytes) -> None:
            client.write = sends  # type: ignore[method-assign]
            sends(data)
            door.pause_writing()

        def sends_more() -> None:
            client.write = fills  # type: ignore[method-assign]
            client.give(write[:-4])

        landing(edge, sends_more)
        edge.ask(plain)
        assert paths_asked(edge) == [b"/orders/plain"] * 4
        edge.loop.call_soon(door.resume_writing)
        edge.ask(write[-4:], plain)
        assert paths_asked(edge) == [b"/orders/plain"] * 4 + [b"/orders/write", b"/orders/plain"]
        assert edge.seen().asked[4].endswith(b"\r\n\r\nGET / HTT")
        assert edge.seen().client.count(b"HTTP/1.1 200") == 6
        assert edge.seen().ended is None
    finally:
        edge.close()


def test_a_client_that_will_ask_for_no_more_gets_the_answer_that_has_landed(people: People) -> None:
    plain = one_of(people, "/orders/plain")
    edge = Edge(plainly(people, 0).world, [])
    try:
        edge.ask(*[plain] * 3)
        landing(edge, edge.client.leave)
        edge.ask(plain)
        assert (edge.seen().client.count(b"HTTP/1.1 200"), edge.seen().ended) == (4, "left")
    finally:
        edge.close()


def test_a_difference_in_one_byte_is_seen(people: People) -> None:
    """A planted one: the way by a task tells another epoch."""

    class Astray(Walking):
        def write(self, data: bytes) -> None:
            super().write(data.replace(b"domicile-epoch: 7", b"domicile-epoch: 8"))

    script = plainly(people, 2)
    assert run(script, EdgeDoor)[0] != run(script, Astray)[0]
