"""However a long answer comes, and however its client takes it: what is passed on from one connection to the other without a copy is what
its service sent, in its order, and what broke off has no end.

The same is given to two gateways that differ in one thing: one of them copies everything. Their clients' connections hold what was
written to them, and no copy of it, until there is room.
"""

import itertools
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.edge.door import EdgeDoor
from gateway.edge.upstream import pouring
from routing_rules.rules import load
from tests.stands.edge import People, placement, policy_text
from tests.stands.edge_in_memory import OK, Answer, Edge, Seen, World, bearer
from tests.stands.memory_wire import Narrow

LENGTH = 3 * pouring.BASIN_BYTES + 999
BODY = b"".join(struct.pack(">I", number) for number in range(LENGTH))[:LENGTH]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-length: %d\r\n\r\n" % LENGTH
ADDRESSES = {"eu-de": "127.0.0.1:7001", "us-va": "127.0.0.1:7002"}
RULES = load(policy_text(ADDRESSES, ADDRESSES))
ANN = placement(epoch=7)


class Copying(EdgeDoor):
    """Passes nothing on in that way."""

    owed = 0


class Script(msgspec.Struct, frozen=True):
    """How much of its answer the service sends, what behind it, cut where, and how it goes on; how much room there is in the client's
    connection, in turn."""

    count: int
    behind: bytes
    cuts: tuple[int, ...]
    then: str
    room: tuple[int, ...]

    def pieces(self) -> tuple[bytes, ...]:
        sent = (HEAD + BODY)[: self.count] + self.behind
        bounds = [0, *sorted(self.cuts), len(sent)]
        return tuple(piece for piece in (sent[start:end] for start, end in itertools.pairwise(bounds)) if piece)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("people"))


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    whole = len(HEAD + BODY)
    count = draw(st.sampled_from([whole, whole, whole - 1, 100_000]))
    return Script(
        count,
        draw(st.sampled_from([b"", b"", b"x", OK])) if count == whole else b"",
        tuple(draw(st.lists(st.integers(1, count - 1), min_size=1, max_size=6))),
        draw(st.sampled_from(["go on", "go on", "leave", "reset"])),
        tuple(draw(st.lists(st.integers(1, 2 * pouring.BASIN_BYTES), max_size=12))),
    )


def run(people: People, script: Script, http: type[EdgeDoor]) -> Seen:
    world = World(rules=RULES, people=people, cached={"ann": ANN}, truth={"ann": ANN})
    edge = Edge(world, [Answer((OK,)), Answer(script.pieces(), script.then)], http, Narrow)
    client: Any = edge.client
    request = b"GET /orders/1 HTTP/1.1\r\nHost: shop\r\nAuthorization: %b\r\n\r\n" % bearer(people, "ann")
    try:
        client.make_room(1 << 16)
        edge.ask(request)
        edge.ask(request, seconds=0.0)
        for count in script.room:
            edge.loop.go_on(0.001)
            edge.loop.call_soon(client.make_room, count)
        edge.loop.go_on(0.1)
        client.make_room(1 << 20)
        edge.loop.go_on(5.0)
        edge.ask(request)
        return edge.seen()
    finally:
        edge.close()


@settings(max_examples=50, deadline=None)
@given(script=scripts())
def test_what_is_passed_on_is_what_was_sent(people: People, script: Script) -> None:
    poured, copied = run(people, script, EdgeDoor), run(people, script, Copying)
    assert poured == copied
    _, _, rest = poured.client.partition(b"content-length: %d\r\n" % LENGTH)
    body = rest.partition(b"\r\n\r\n")[2][:LENGTH]
    assert BODY.startswith(body)
    assert poured.under_way == 0


def test_a_long_answer_is_passed_on_so_and_none_of_it_twice(people: People) -> None:
    """Else the two above would be one."""
    poured: list[int] = []

    class Counting(EdgeDoor):
        def pour(self, piece: memoryview) -> bool:
            poured.append(len(piece))
            return super().pour(piece)

    script = Script(len(HEAD + BODY), b"", (len(HEAD) + 99,), "go on", (1_000,) * 9)
    assert BODY in run(people, script, Counting).client
    assert sum(poured) == LENGTH - 99
    assert max(poured) == pouring.BASIN_BYTES
