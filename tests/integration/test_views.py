"""What people show to others: asked for at the reader's gateway, carried over the border, treated by the cell for the reader's place."""

import hashlib
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from cells.egress.viewing import ROWS_MAX
from deploy.local.postgres import PostgresServer
from foundation.decision_header import Minter
from foundation.ledger.port import Kind
from foundation.postgres import connect
from foundation.words import Verb, mint_subject_id
from tests.stands.travel import EU, US
from tests.stands.views import Showing, showing

pytestmark = pytest.mark.anyio
NAME = "Ann Marie Carter"


@pytest.fixture(scope="module")
async def shows(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Showing]:
    """One cell and two gateways; each test has people of its own."""
    with pytest.MonkeyPatch.context() as patch:
        async with showing(postgres_server, tmp_path_factory.mktemp("views"), patch) as made:
            yield made


def refused(answer: httpx.Response) -> tuple[int, str]:
    assert "ground" not in answer.json(), answer.text
    assert not [name for name in answer.headers if name in ("domicile-cell", "domicile-epoch")]
    return answer.status_code, answer.json()["code"]


async def test_a_reader_abroad_gets_what_the_contract_lets_leave_for_there_and_the_crossing_is_booked(
    shows: Showing,
) -> None:
    reader, reads = await shows.placed(residence="US")
    _, ann = await shows.placed()
    await shows.note(ann.subject_id, NAME)
    answer = await shows.read(reader, ann.subject_id, by=US)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"table": "notes", "rows": [{"body": "A. M. C.", "rank": 1}], "more": False}
    assert not [name for name in answer.headers if name in ("domicile-cell", "domicile-epoch")]
    (crossing,) = await shows.crossings(ann.subject_id)
    assert (crossing["kind"], crossing["from_region"], crossing["from_country"]) == ("egress", "us", "US")
    assert (crossing["service"], crossing["purpose"], crossing["booked_by"]) == ("views", "public_view", "cell:eu-de")
    assert crossing["ground"].startswith("notes is shown at us-readers: eu -> ")
    assert "scc" in crossing["basis"]
    (release,) = await shows.recorded(ann.subject_id, "release")
    assert (
        release["details"]["payload"]
        == f"sha256:{hashlib.sha256(msgspec.json.encode(answer.json()['rows'])).hexdigest()}"
    )
    assert release["id"] == f"release:{crossing['id']}"
    assert release["actor"] == "cell:us-va"
    assert reads.subject_id not in repr((crossing, release))
    (asked,) = [one for one in shows.gateways.us.recorder._pending if one.actor == reads.subject_id]
    assert (asked.kind, asked.details["cell"]) == (Kind.ACCESS, "eu-de")
    assert asked.details["trace_id"] == crossing["trace_id"]
    assert ann.subject_id not in repr(asked)


async def test_a_reader_of_the_same_cell_gets_what_leaves_for_there_and_no_crossing_is_booked(shows: Showing) -> None:
    reader, _ = await shows.placed()
    _, ann = await shows.placed()
    await shows.note(ann.subject_id, NAME)
    answer = await shows.read(reader, ann.subject_id)
    assert answer.json()["rows"] == [{"body": NAME, "rank": 1, "done": True}]
    assert await shows.crossings(ann.subject_id) == []


async def test_who_has_no_rows_shows_none(shows: Showing) -> None:
    reader, _ = await shows.placed(residence="US")
    _, ann = await shows.placed()
    answer = await shows.read(reader, ann.subject_id, by=US)
    assert answer.json() == {"table": "notes", "rows": [], "more": False}


async def test_of_many_rows_some_are_shown_and_it_is_said_that_there_are_more(shows: Showing) -> None:
    reader, _ = await shows.placed()
    _, ann = await shows.placed()
    sql = "INSERT INTO product.notes (subject_id, body) SELECT $1, 'x' FROM generate_series(1, $2::int)"
    await shows.write(ann.subject_id, sql, ROWS_MAX + 1)
    answer = (await shows.read(reader, ann.subject_id)).json()
    assert (len(answer["rows"]), answer["more"]) == (ROWS_MAX, True)


async def test_what_the_law_does_not_let_leave_stays_and_the_ground_is_recorded_and_not_told(shows: Showing) -> None:
    reader, _ = await shows.placed(residence="US")
    at_home, _ = await shows.placed()
    _, ann = await shows.placed(tags=["health"])
    await shows.note(ann.subject_id, NAME)
    assert refused(await shows.read(reader, ann.subject_id, by=US)) == (451, "residency_refused")
    (event,) = await shows.recorded(ann.subject_id, "refusal")
    assert event["details"]["ground"].startswith("eu -> ")
    assert event["details"]["destination"] == "us-readers"
    assert await shows.crossings(ann.subject_id) == []
    assert (await shows.read(at_home, ann.subject_id)).status_code == 200


async def test_a_no_holds_from_the_next_read_on(shows: Showing) -> None:
    reader, _ = await shows.placed(residence="US")
    _, ann = await shows.placed()
    await shows.note(ann.subject_id, NAME)
    assert (await shows.read(reader, ann.subject_id, by=US)).status_code == 200
    no = "INSERT INTO product.consents (subject_id, purpose, given) VALUES ($1, 'public_view', false)"
    await shows.write(ann.subject_id, no)
    assert refused(await shows.read(reader, ann.subject_id, by=US)) == (451, "residency_refused")
    (event,) = await shows.recorded(ann.subject_id, "refusal")
    assert event["details"]["ground"] == "the person has said no to public_view"
    assert len(await shows.crossings(ann.subject_id)) == 1


async def test_a_finding_where_the_contract_says_clean_holds_the_view_back(shows: Showing) -> None:
    reader, _ = await shows.placed()
    _, ann = await shows.placed()
    await shows.note(ann.subject_id, "write to ann@mail.example.com")
    assert refused(await shows.read(reader, ann.subject_id)) == (451, "residency_refused")
    (event,) = await shows.recorded(ann.subject_id, "refusal")
    assert event["details"]["ground"] == "held back: email in body"


async def test_a_frozen_person_shows_nothing(shows: Showing) -> None:
    reader, _ = await shows.placed()
    _, ann = await shows.placed()
    frozen = await shows.cell.directory.operator.post(
        f"/v1/subjects/{ann.subject_id}/freeze", {"epoch": ann.epoch, "reason": "test"}
    )
    assert frozen.status_code == 200, frozen.text
    answer = await shows.read(reader, ann.subject_id)
    assert answer.status_code in (451, 503)
    assert "rows" not in answer.json()


async def test_nobody_and_nothing_public_is_not_found(shows: Showing) -> None:
    reader, _ = await shows.placed(residence="US")
    _, ann = await shows.placed()
    assert refused(await shows.read(reader, mint_subject_id(), by=US)) == (404, "not_found")
    for table in ("consents", "orders"):
        assert refused(await shows.read(reader, ann.subject_id, by=US, table=table)) == (404, "not_found")


async def test_a_reader_away_from_home_is_told_where_to_ask(shows: Showing) -> None:
    reader, _ = await shows.placed(residence="US")
    _, ann = await shows.placed()
    answer = await shows.read(reader, ann.subject_id, by=EU)
    assert (answer.status_code, answer.json()["code"]) == (421, "home_elsewhere")
    assert answer.json()["home"] == shows.gateways.us.url


async def test_nothing_is_answered_that_cannot_be_booked(shows: Showing) -> None:
    reader, _ = await shows.placed(residence="US")
    _, ann = await shows.placed()
    await shows.note(ann.subject_id, NAME)
    shows.gateways.us.recorder.room.most, kept = 0, shows.gateways.us.recorder.room.most
    try:
        answer = await shows.read(reader, ann.subject_id, by=US)
    finally:
        shows.gateways.us.recorder.room.most = kept
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    async with connect(shows.cell.dsns["s1"].owner) as db:
        refuses = f"CHECK (subject_id <> '{ann.subject_id}')"
        await db.execute(f"ALTER TABLE domicile.crossing ADD CONSTRAINT none_of_this_person {refuses}")
    answer = await shows.read(reader, ann.subject_id, by=US)
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert NAME[:1] + ". " not in answer.text


async def test_a_decision_for_views_opens_nothing_else_and_no_other_opens_views(shows: Showing) -> None:
    _, reads = await shows.placed()
    _, ann = await shows.placed()
    await shows.note(ann.subject_id, NAME)
    live, minter = shows.cell, Minter(shows.cell.name, shows.cell.root)
    path = f"/views/notes/{ann.subject_id}"

    async def call(to: str, **more: object) -> int:
        asked = {"service": "views", "verb": Verb.READ, "actor": reads.subject_id, "purpose": "public_view"} | more
        header = live.decision(ann.subject_id, ann.epoch, minter=minter, **asked)
        return (await live.call("GET", to, header)).status_code

    assert await call(path) == 200
    assert await call("/records/notes") == 403
    assert await call(path, service="records") == 403
    assert await call(path, verb=Verb.WRITE) == 403
    assert await call(path, actor="service:orders") == 403
    assert await call(f"/views/notes/{reads.subject_id}") == 403
    stale = live.decision(
        ann.subject_id, ann.epoch - 1, minter=minter, service="views", verb=Verb.READ, actor=reads.subject_id
    )
    answer = await live.call("GET", path, stale)
    assert (answer.status_code, answer.headers["domicile-refusal"]) == (409, "stale_epoch")


async def test_a_view_is_treated_for_the_purpose_that_it_is_read_for_whatever_it_was_read_for_before(
    shows: Showing,
) -> None:
    """Table, reader, place, rules and day are the same: what was made ready for one purpose serves no other."""
    _, reads = await shows.placed(residence="US")
    _, ann = await shows.placed()
    await shows.note(ann.subject_id, NAME)
    live, minter = shows.cell, Minter(shows.cell.name, shows.cell.root)

    async def body(purpose: str) -> object:
        header = live.decision(
            ann.subject_id,
            ann.epoch,
            minter=minter,
            service="views",
            verb=Verb.READ,
            actor=reads.subject_id,
            purpose=purpose,
        )
        answer = await live.call("GET", f"/views/notes/{ann.subject_id}", header)
        assert answer.status_code == 200, answer.text
        return answer.json()["rows"][0]["body"]

    initials = "A. M. C."
    assert [await body(one) for one in ("public_view", "support", "public_view")] == [initials, NAME, initials]
