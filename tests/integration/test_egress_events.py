"""Events that come back as they may leave, by batch and by stream, whose word counts for them, and what is answered to whom."""

import json
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from cells.egress.reading import FIRST
from cells.egress.worlds import ShardSource
from cells.records.contracts import parse
from foundation.postgres import connect
from foundation.tokens import cell_audience
from foundation.words import CellId, ShardId, SubjectId
from routing_rules.release import Consent
from tests.stands.cell import Stand
from tests.stands.documented import CONFORMING, NO_FAULT, explore
from tests.stands.egress_cell import NOTES, PLANTED, answers, freeze, person
from tests.stands.egress_live import events, live, recorded, released, run, shared
from tests.stands.servers import serving
from tests.stands.service_tokens import AUDIENCE
from tests.stands.streaming import Streaming

__all__ = ["live", "shared"]
pytestmark = pytest.mark.anyio


async def test_events_come_back_as_they_may_leave_and_the_answer_says_what_stayed(live: Stand) -> None:
    ann, _ = await person(live, 1)
    ben, _ = await person(live, 2, given=False)
    event = {"rank": 5, "total": 777, "due": "2026-04-03T12:00:00Z", "body": PLANTED, "card": PLANTED, "mail": PLANTED}
    strangers = ["00000000-0000-0000-0000-00000000000a", None, 7, "nobody"]
    answer = await events(live, *({**event, "subject_id": one} for one in (ann, ben, *strangers)))
    assert answer.status_code == 200, answer.text
    said = answer.json()
    (left,) = said["events"]
    assert (left["rank"], left["total"], left["due"], len(left["subject_id"])) == (5, 700, "2026-04", 32)
    assert PLANTED not in answer.text
    assert said["stayed"] == {
        "the person has said no to analytics": 1,
        "it is not known whose law the person is under": 4,
    }
    assert said["duties"] == []  # nothing leaves the European Union
    assert said["counts"]["body"] == {"dropped:stated": 1}
    assert said["counts"][""] == {"unnamed": 6}
    assert said["release"] in await recorded(live)


def shard_of(live: Stand, subject: SubjectId) -> ShardId:
    home = live.cell.context.homes.get(subject)
    assert home is not None
    return home.shard


async def elsewhere(live: Stand, ann: SubjectId) -> SubjectId:
    """Somebody on another shard than she is on."""
    while True:
        subject, _ = await person(live, 2)
        if shard_of(live, subject) != shard_of(live, ann):
            return subject


async def test_what_an_events_owner_said_decides_not_what_is_said_by_whom_it_is_placed_by(live: Stand) -> None:
    ann, _ = await person(live, 1, given=True)
    ben = await elsewhere(live, ann)
    of = {"subject_id": ann, "rank": 1}

    async def left(*given: dict[str, Any]) -> tuple[int, dict[str, int]]:
        said = (await events(live, *given, contract="visits")).json()
        return len(said["events"]), said["stayed"]

    assert await left(of | {"person_id": ben}, of | {"person_id": ann}) == (2, {})
    await answers(live, ben, given=False)
    no = {"the person has said no to analytics": 1}
    assert await left(of | {"person_id": ben}, of | {"person_id": ann}) == (1, no)
    assert await left(of, of | {"person_id": "nobody"}) == (0, {"it is not said whose it is": 2})
    assert await left(of | {"person_id": "00000000-0000-0000-0000-00000000000a"}) == (1, {}), "who lives nowhere"
    leaving, epoch = await person(live, 3)
    await freeze(live, leaving, epoch)
    unheard = {"its owner may have said no where this cell does not hear it": 1}
    assert await left(of | {"person_id": leaving}, of | {"person_id": ann}) == (1, unheard)
    assert await left({"rank": 1, "person_id": ann}) == (0, {"it is not known whose law the person is under": 1})


OWNED = NOTES.replace("owner: subject_id", "owner: person_id").replace(
    "  rank:       {type: int", "  person_id:  {type: uuid, class: pseudonymous}\n  rank:       {type: text"
)
"""A type that the table does not have: so it is read itself, and not its view."""


async def test_what_the_owner_of_a_row_said_on_another_shard_counts_for_a_release(live: Stand) -> None:
    ann, _ = await person(live, 1, given=True)
    ben = await elsewhere(live, ann)
    shard, contract = shard_of(live, ann), parse(OWNED, where="notes.yaml")
    async with AsyncExitStack() as stack:
        opened = {one: await stack.enter_async_context(connect(dsns.owner)) for one, dsns in live.dsns.items()}
        connections = {
            ShardId(one): await stack.enter_async_context(connect(dsns.records)) for one, dsns in live.dsns.items()
        }
        for db in opened.values():
            await db.execute("ALTER TABLE product.notes ADD COLUMN person_id uuid")
        try:
            await opened[shard].execute("UPDATE product.notes SET person_id = $1", ben)
            source = ShardSource(connections, contract, live.cell.contracts, "analytics")
            for given in (None, True, False):
                if given is not None:
                    await answers(live, ben, given=given)
                expected = {None: Consent.UNSAID, True: Consent.GIVEN, False: Consent.WITHHELD}[given]
                stands = await source.standing(shard, [ann], [ben])
                assert set((await source.page(shard, FIRST)).consents) == {expected}
                assert stands.consents.get(ben, Consent.UNSAID) is expected
            await opened[shard].execute("UPDATE product.notes SET person_id = NULL")
            found = await source.page(shard, FIRST)
            assert set(found.owners) == {None}
            assert set(found.consents) == {Consent.UNSAID}
        finally:
            for db in opened.values():
                await db.execute("ALTER TABLE product.notes DROP COLUMN person_id")


async def test_a_withdrawal_holds_from_the_next_batch_on(live: Stand) -> None:
    ann, _ = await person(live, 1, given=True)
    before = await events(live, {"subject_id": ann, "rank": 1})
    await answers(live, ann, given=False)
    after = await events(live, {"subject_id": ann, "rank": 2})
    assert ([one["rank"] for one in before.json()["events"]], after.json()["events"]) == ([1], [])


async def test_events_of_a_stream_come_back_as_they_may_leave_and_a_withdrawal_holds_from_the_next_on(
    live: Stand,
) -> None:
    ann, _ = await person(live, 1, given=True)
    ben, _ = await person(live, 2)
    event = json.dumps({"subject_id": ann, "rank": 1, "body": PLANTED}).encode() + b"\n"
    other = json.dumps({"subject_id": ben, "rank": 2, "mail": PLANTED}).encode() + b"\n"
    query = {"contract": "notes", "to": "near", "purpose": "analytics"}
    async with serving(live.cell.app) as port, Streaming(port, query, live.service("analytics")) as streaming:
        first = await streaming.asked(event + other)
        await answers(live, ann, given=False)
        second = await streaming.asked(event + b"[]\n")
        last = await streaming.ended()
    assert [one["rank"] for one in first["batch"]["events"]] == [1, 2]
    assert second["batch"]["events"] == []
    assert second["batch"]["stayed"] == {"the person has said no to analytics": 1}
    assert PLANTED not in json.dumps([first, second, last])
    end = last["end"]
    assert (end["batches"], end["events"], end["unreadable"]) == (2, 2, 1)
    assert {first["batch"]["release"], second["batch"]["release"]} <= await recorded(live)


@pytest.mark.parametrize(
    ("change", "status"), [({"to": "nowhere"}, 451), ({"contract": "none"}, 403), ({"purpose": ""}, 400)]
)
async def test_a_stream_for_what_nobody_declared_is_refused_before_anything_of_it_is_read(
    live: Stand, change: dict[str, str], status: int
) -> None:
    query = {"contract": "notes", "to": "near", "purpose": "analytics"} | change
    answer = await live.call("POST", "/cell/egress/stream", live.service("analytics"), params=query, content=b"{}")
    assert answer.status_code == status


async def test_events_for_what_nobody_declared_are_refused(live: Stand) -> None:
    ann, _ = await person(live, 1)
    event = {"subject_id": ann, "rank": 1}
    assert (await events(live, event, service="orders")).status_code == 403
    assert (await events(live, event, contract="none")).status_code == 403
    assert (await events(live, event, to="nowhere")).status_code == 451
    assert (await events(live, event, purpose="sale")).status_code == 451
    assert (await events(live)).status_code == 400
    far = await events(live, event, to="far")
    assert (far.status_code, far.json()["events"], sum(far.json()["stayed"].values())) == (200, [], 1)


def operating(live: Stand, cell: str | None = None) -> dict[str, str]:
    audience = cell_audience(AUDIENCE, CellId(cell or live.name))
    token = live.tokens.token("operator:ann", ["operator"], aud=audience)
    return {"authorization": f"Bearer {token}"}


async def test_an_operator_asks_what_would_leave_and_how_releases_stand_and_nobody_else_does(live: Stand) -> None:
    await person(live, 1)
    path, _ = released(await run(live))

    async def asked(of: str, **query: str) -> Any:
        answer = await live.call("GET", f"/cell/egress/{of}", operating(live), params=query)
        assert answer.status_code == 200, answer.text
        assert PLANTED not in answer.text
        return answer.json()

    (listed,) = (await asked("runs"))["runs"]
    assert (listed["id"], listed["state"], listed["rows"], "report" in listed) == (path.name, "released", 1, False)
    report = (await asked(f"runs/{path.name}"))["report"]
    assert (report["read"], report["fields"]["body"], report["held"]) == (1, {"dropped:stated": 1}, [])
    aim = {"contract": "notes", "to": "near", "purpose": "analytics"}
    plan = await asked("plan", **aim, residence="DE")
    becomes = {one["name"]: one["treatment"]["kind"] for one in plan["plan"]["fields"]}
    assert (plan["goes"], becomes["total"], becomes["body"], becomes["shadow"]) == (True, "bin", "drop", "drop")
    assert not (await asked("plan", **aim, residence="DE", consent="withheld"))["goes"]
    for of in ("runs", f"runs/{path.name}", "plan"):
        for headers, status in (
            ({}, 401),
            (live.service("analytics"), 401),
            (operating(live, "us-va"), 401),
        ):
            assert (await live.call("GET", f"/cell/egress/{of}", headers)).status_code == status
    assert (await live.call("GET", "/cell/egress/runs/rel-0", operating(live))).status_code == 404


async def test_what_is_answered_is_according_to_the_document(live: Stand) -> None:
    ann, _ = await person(live, 1)
    await run(live)
    document = (await live.call("GET", "/cell/egress/openapi.json", {})).json()
    del document["paths"]["/cell/egress/stream"]  # nothing makes bodies of NDJSON; other tests stream

    async def send(request: httpx.Request) -> httpx.Response:
        """With everybody's credentials, and of somebody whom there is."""
        own = operating(live) if request.method == "GET" else live.service("analytics")
        request.headers.update(own)
        return await live.http.send(request)

    seen = await explore(document, send, [*CONFORMING, *NO_FAULT], fitting=3, violating=2)
    assert any(status == 200 for _, status in seen), seen
    answer = await events(live, {"subject_id": ann, "rank": 1})
    shape = document["components"]["schemas"]["EgressAnswer"]
    assert set(shape["required"]) <= set(answer.json()) <= set(shape["properties"])


async def test_a_gateway_hands_no_release_over(live: Stand) -> None:
    forged = {"id": "release:rel-1", "at": 1.0, "kind": "access", "actor": "a", "subject_id": None, "details": {}}
    headers = live.tokens.headers("gateway:eu", ["gateway:eu"])
    answer = await live.call("POST", "/cell/events", headers, json={"events": [forged]})
    assert (answer.status_code, "the cell's own" in answer.text) == (400, True)
