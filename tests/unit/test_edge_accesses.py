"""Access records at the edge: each handed over once, in order; where there is no room, refused or counted as lost, and never silently."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest

from cells.service.api import RecordsRequest
from foundation.http import HttpClient
from foundation.ledger.entries import Single
from foundation.ledger.handed import RECORDS_MAX, Handed, read
from foundation.ledger.port import Event, Kind
from foundation.words import ActorId, CellId, Country, RegionId, RulesDigest, ServiceId
from gateway.edge import delivering
from gateway.edge.accesses import Accesses, Alike
from gateway.edge.delivering import UNANSWERED_MAX, NotTaken, Way
from gateway.edge.events import Recorder
from gateway.edge.room import Room, WhenFull
from tests.stands import accesses as handed_over
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

SUBJECT = "aaaaaaaa-0000-4000-8000-00000000000a"
AWAY = NotTaken("status 503", perhaps=True)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "GATHER_S", 0.0)


def alike(verb: str = "read", actor: str | None = "service:desk") -> Alike:
    return (
        None if actor is None else ActorId(actor), ServiceId("orders"), verb, "service", RulesDigest("sha256:" + "0" * 64),
        CellId("eu-de"), RegionId("eu"), RegionId("eu"), Country("FR"),
    )  # fmt: skip


def add(to: Accesses, number: int, verb: str = "read") -> bool:
    return to.add(alike(verb), 1_800_000_000_000_000 + number, SUBJECT, 7, f"{number:032x}")


class Cell:
    """Answers in turn as it was told, then takes everything."""

    def __init__(self, *answers: NotTaken) -> None:
        self.answers = list(answers)
        self.bodies: list[bytes] = []
        self.taken: list[bytes] = []

    async def __call__(self, body: bytes) -> NotTaken | None:
        self.bodies.append(body)
        if self.answers:
            return self.answers.pop(0)
        self.taken.append(body)
        return None

    def records(self) -> list[Single]:
        return handed_over.read(*self.taken)

    def told(self) -> list[Handed]:
        return [msgspec.json.decode(body, type=RecordsRequest).records for body in self.taken]


def traces(records: list[Single]) -> list[int]:
    return [int(msgspec.json.decode(one.details)["trace_id"], 16) for one in records]


async def delivered(gathered: Accesses, room: Room, cell: Cell) -> None:
    delivering = asyncio.ensure_future(gathered.deliver(cell))  # noqa: TID251 - cancelled below
    await eventually(lambda: room.taken == 0 and not room.untold)
    delivering.cancel()
    await asyncio.gather(delivering, return_exceptions=True)


async def test_records_are_handed_over_in_order_and_once_over_a_cell_that_fails() -> None:
    room = Room()
    gathered, cell = Accesses(room), Cell(AWAY, NotTaken("ConnectError"), AWAY)
    for number in range(2 * RECORDS_MAX + 5):
        assert add(gathered, number, "read" if number % 3 else "write")
    await delivered(gathered, room, cell)
    assert traces(cell.records()) == list(range(2 * RECORDS_MAX + 5))
    assert [len(one.rows) for one in cell.told()] == [RECORDS_MAX, RECORDS_MAX, 5]
    assert {len(one.shared) for one in cell.told()} == {2}, "what many say alike is said once"
    assert len(set(cell.bodies[:4])) == 1, "what is handed over again is the same, so that it is known"
    first = cell.records()[0]
    assert (first.actor, first.subject_id, first.kind) == ("service:desk", SUBJECT, "access")
    assert msgspec.json.decode(first.details) == {
        "service": "orders", "verb": "write", "purpose": "service", "rules": "sha256:" + "0" * 64, "cell": "eu-de", "region": "eu",
        "ingress": "eu", "observed_country": "FR", "epoch": 7, "trace_id": "0" * 32,
    }  # fmt: skip


async def test_a_full_room_refuses_and_nothing_is_lost() -> None:
    room = Room(3, WhenFull.REFUSE)
    gathered, cell = Accesses(room), Cell()
    assert [add(gathered, number) for number in range(5)] == [True, True, True, False, False]
    problem = room.problem()
    assert problem is not None
    assert problem.code == "not_ready"
    await delivered(gathered, room, cell)
    assert room.problem() is None
    assert (traces(cell.records()), [one.lost for one in cell.told()]) == ([0, 1, 2], [0])


async def test_where_records_may_be_lost_requests_go_on_and_the_ledger_is_told_how_many_were() -> None:
    room = Room(3, WhenFull.COUNT)
    gathered, cell = Accesses(room), Cell(AWAY)
    before = lost()
    assert [add(gathered, number) for number in range(5)] == [True] * 5
    assert room.problem() is None
    assert lost() - before == 2
    await delivered(gathered, room, cell)
    assert (traces(cell.records()), [one.lost for one in cell.told()]) == ([0, 1, 2], [2])


async def test_losses_alone_are_told_too() -> None:
    room = Room(1, WhenFull.COUNT)
    recorder = Recorder(list, pending_max=1, when_full=WhenFull.COUNT)
    refusal = Event(id="1", at=1.8e9, kind=Kind.REFUSAL, actor="gateway:eu")
    assert [recorder.add(refusal) for _ in range(3)] == [True, True, True]
    gathered, cell, room = recorder.accesses, Cell(), recorder.room
    room.give_back(1)
    await delivered(gathered, room, cell)
    assert [(len(one.rows), one.lost) for one in cell.told()] == [(0, 2)]


async def test_what_no_cell_takes_for_what_it_holds_is_left_out_and_told() -> None:
    room = Room()
    gathered, cell = Accesses(room), Cell(NotTaken("status 400", unfit=True))
    before = lost()
    for number in range(RECORDS_MAX + 2):
        assert add(gathered, number)
    await delivered(gathered, room, cell)
    assert traces(cell.records()) == [RECORDS_MAX, RECORDS_MAX + 1]
    assert lost() - before == RECORDS_MAX
    assert sum(one.lost for one in cell.told()) == RECORDS_MAX


async def test_what_has_gathered_is_handed_over_when_the_process_ends() -> None:
    room = Room()
    gathered, cell = Accesses(room), Cell(AWAY)
    delivering = asyncio.ensure_future(gathered.deliver(cell))  # noqa: TID251 - cancelled below
    assert add(gathered, 1)
    await eventually(lambda: cell.bodies)
    assert add(gathered, 2)
    delivering.cancel()
    await asyncio.gather(delivering, return_exceptions=True)
    assert traces(cell.records()) == [1, 2]


class Region:
    """Two cells behind a network: each answers in turn as it was told, then takes everything. `asked`: whom, in which order."""

    def __init__(self, **answers: list[int | type[httpx.TransportError]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host
        self.asked.append(name)
        answer = self.answers[name].pop(0) if self.answers.get(name) else 204
        if isinstance(answer, int):
            return httpx.Response(answer)
        raise answer("planted", request=request)


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ([httpx.ReadError], "aa"),
        ([httpx.ReadTimeout, httpx.ConnectError, 503], "aaaa"),
        ([503, 500], "aaa"),
        ([httpx.ReadError] * UNANSWERED_MAX, "aaaaab"),
        ([httpx.ConnectError], "ab"),
        ([httpx.PoolTimeout], "ab"),
        ([403, 403], "ab"),
        ([400], "a"),
    ],
)
async def test_what_a_cell_may_have_taken_goes_to_no_other_one_while_that_can_be_helped(
    answers: list[int | type[httpx.TransportError]], asked: str
) -> None:
    region = Region(a=answers)
    async with HttpClient(transport=httpx.MockTransport(region)) as http:
        way = Way(http, "/cell/records", lambda: ["a", "b"])
        while (not_taken := await way(b"{}")) is not None and not not_taken.unfit:
            pass
    assert "".join(region.asked) == asked


async def test_the_next_body_goes_where_the_last_one_was_taken() -> None:
    region = Region(a=[httpx.ConnectError])
    addresses = ["a", "b"]
    async with HttpClient(transport=httpx.MockTransport(region)) as http:
        way = Way(http, "/cell/records", lambda: addresses)
        assert await way(b"{}") == NotTaken("ConnectError")
        assert [await way(b"{}") for _ in range(2)] == [None, None]
        addresses.clear()
        assert await way(b"{}") == NotTaken("no cell service in this region")
    assert region.asked == ["a", "b", "b"]


def lost() -> float:
    from prometheus_client import REGISTRY

    return REGISTRY.get_sample_value("domicile_gateway_records_lost_total") or 0.0


@pytest.mark.parametrize(
    "change",
    [
        {"rows": [[1, 1, SUBJECT, 7, "0" * 32]]},
        {"rows": [[0, 1, "ada", 7, "0" * 32]]},
        {"rows": [[0, 1, SUBJECT, 7, "0"]]},
        {"rows": [[0, 0, SUBJECT, 7, "0" * 32]]},
        {"rows": []},
        {"shared": [{"kind": "fence", "actor": None, "details": {}}]},
        {"shared": [{"kind": "access", "actor": None, "details": {"service": "a\nb"}}]},
        {"shared": [{"kind": "access", "actor": None, "details": {"Service": "a"}}]},
        {"lost": -1},
        {"more": 1},
    ],
)
def test_what_a_gateway_would_not_hand_over_is_no_such_thing(change: dict[str, Any]) -> None:
    whole = {
        "shared": [{"kind": "access", "actor": None, "details": {"service": "orders"}}],
        "rows": [[0, 1, SUBJECT, 7, "0" * 32]],
        "lost": 0,
    }
    assert read(msgspec.json.encode(whole)) is not None
    assert read(msgspec.json.encode(whole | change)) is None
