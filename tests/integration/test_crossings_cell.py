"""Crossings on a running cell: booked once and durably, found by subject, shown to this cell's operators and to nobody else."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from cells.crossings import core
from cells.crossings.api import BODY_BYTES_MAX, PAGE_MAX
from cells.shards.shard import MIGRATIONS
from deploy.local.postgres import PostgresServer
from foundation.clock import SystemClock
from foundation.postgres import connect, migrate
from foundation.words import mint_subject_id
from tests.stands.cell import Stand, stand
from tests.stands.crossings import TWO_REGIONS, book, booked_ids, crossing, gateway, operator, shown
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.shard import CELL, database_of, drop_database, make_shard_database, rows
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def live(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    """One running cell; each test has subjects of its own."""
    folder = tmp_path_factory.mktemp("cell")
    with pytest.MonkeyPatch.context() as patch:
        async with stand(postgres_server, folder, patch, policy=TWO_REGIONS) as built, built.running():
            yield built


async def hand_over(live: Stand, *events: dict[str, Any]) -> int:
    answer = await live.call("POST", "/cell/events", gateway(live), json={"events": list(events)})
    return answer.status_code


def refusal(subject: str, at: float, **changes: Any) -> dict[str, Any]:
    made = {"id": secrets.token_urlsafe(12), "at": at, "kind": "refusal", "actor": subject, "subject_id": subject}
    return made | {"details": {"code": "residency_refused", "ground": "no instrument"}} | changes


async def test_a_booked_crossing_stands_in_the_subjects_own_shard_and_in_its_outbox(live: Stand) -> None:
    for _ in range(6):  # enough for both shards
        subject, _ = await live.place()
        made = crossing(live, subject)
        answer = await book(live, made)
        assert (answer.status_code, answer.content) == (204, b"")
        home = live.cell.context.homes.get(subject)
        dsns = live.dsns[home.shard]
        (kept,) = await rows(dsns, "SELECT * FROM domicile.crossing WHERE subject_id = $1::uuid", subject)
        assert {name: kept[name] for name in made if name not in ("at", "subject_id")} == {
            name: value for name, value in made.items() if name not in ("at", "subject_id")
        }
        assert kept["booked_by"] == "gateway:eu"
        assert kept["at"].timestamp() == pytest.approx(made["at"], abs=1e-6)
        told = await rows(dsns, "SELECT id FROM domicile.outbox WHERE kind = 'crossing' AND subject_id = $1", subject)
        assert [row["id"] for row in told] == [f"crossing:{made['id']}"]


async def test_a_repeat_books_once_and_another_crossing_under_its_id_is_refused(live: Stand) -> None:
    subject, _ = await live.place()
    made = crossing(live, subject)
    assert [(await book(live, made)).status_code for _ in range(3)] == [204, 204, 204]
    for change in ({"verb": "write"}, {"service": "analytics"}, {"at": made["at"] - 1}, {"observed_country": None}):
        answer = await book(live, made | change)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict"), change
    assert await booked_ids(live, subject) == [made["id"]]


async def test_two_crossings_that_race_for_one_id_book_one_of_them(live: Stand) -> None:
    subject, _ = await live.place()
    for _ in range(10):
        one = crossing(live, subject)
        other = one | {"service": "analytics"}
        answers = await asyncio.gather(*(book(live, made) for made in (one, other, one, other)))
        statuses = [answer.status_code for answer in answers]
        assert sorted(statuses) == [204, 204, 409, 409]
        assert statuses[0] == statuses[2]
    assert len(await booked_ids(live, subject)) == 10


async def test_a_thousand_bookings_at_once_are_all_booked_once(live: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "AGE_S_MAX", 3_600.0)  # how old a crossing may get on its way is not what is asked here
    subjects = [(await live.place())[0] for _ in range(8)]
    made = [crossing(live, subjects[n % 8]) for n in range(1_000)]
    left = made
    for _ in range(
        10
    ):  # a booking is bounded in time: of a thousand at once some may be refused, and book when sent again
        answers = await asyncio.gather(*(book(live, one) for one in left))
        assert {answer.status_code for answer in answers} <= {204, 503}
        left = [one for one, answer in zip(left, answers, strict=True) if answer.status_code == 503]
        if not left:
            break
    assert left == []
    booked = [name for subject in subjects for name in await booked_ids(live, subject)]
    assert sorted(booked) == sorted(one["id"] for one in made)
    again = await asyncio.gather(*(book(live, one) for one in made[:200]))
    assert {answer.status_code for answer in again} == {204}
    assert len([name for subject in subjects for name in await booked_ids(live, subject)]) == 1_000


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"kind": "egress"}, 400, "bad_request"),
        ({"verb": "signup"}, 400, "bad_request"),
        ({"at": 1.0}, 400, "bad_request"),
        ({"at": "soon"}, 400, "bad_request"),
        ({"id": "short"}, 400, "bad_request"),
        ({"id": "x" * 65}, 400, "bad_request"),
        ({"id": "sixteen letters\n"}, 400, "bad_request"),
        ({"ground": "two\nlines"}, 400, "bad_request"),
        ({"ground": "nul\x00"}, 400, "bad_request"),
        ({"basis": "x" * 1_001}, 400, "bad_request"),
        ({"observed_country": "Germany"}, 400, "bad_request"),
        ({"client_address": "192.0.2.7"}, 400, "bad_request"),
        ({"home_cell": "eu-fr"}, 409, "conflict"),
        ({"from_region": "eu", "from_country": "DE"}, 409, "conflict"),
        ({"from_region": "mars"}, 409, "conflict"),
        ({"from_country": "CA"}, 409, "conflict"),
        ({"rules": "sha256:" + "1" * 64}, 503, "cell_behind"),
    ],
    ids=str,
)
async def test_a_crossing_that_may_not_be_booked_leaves_nothing(
    live: Stand, change: dict[str, Any], status: int, code: str
) -> None:
    subject, _ = await live.place()
    answer = await book(live, crossing(live, subject) | change)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert await booked_ids(live, subject) == []


async def test_a_crossing_without_a_ground_or_a_trace_is_not_booked(live: Stand) -> None:
    subject, _ = await live.place()
    for name in ("ground", "basis", "trace_id", "rules", "purpose"):
        made = crossing(live, subject)
        del made[name]
        assert (await book(live, made)).status_code == 400, name
    assert await booked_ids(live, subject) == []


async def test_only_a_gateway_of_the_cells_region_books(live: Stand, tmp_path_factory: pytest.TempPathFactory) -> None:
    subject, _ = await live.place()
    stranger = ServiceIssuer(tmp_path_factory.mktemp("stranger"))
    for headers, status in (
        ({}, 401),
        (gateway(live, "us"), 403),
        (live.service(), 403),
        (live.tokens.headers("operator:ada", ["operator"]), 403),
        (operator(live), 401),
        (stranger.headers("gateway:eu", ["gateway:eu"]), 401),
    ):
        answer = await live.call("POST", "/cell/crossings", headers, json={"crossing": crossing(live, subject)})
        assert answer.status_code == status, headers
    assert await booked_ids(live, subject) == []


async def test_a_body_that_is_too_large_or_no_crossing_is_refused(live: Stand) -> None:
    large = b'{"crossing": {"ground": "' + b"x" * BODY_BYTES_MAX + b'"}}'
    for body, status in ((large, 413), (b"[" * 8_000, 400), (b"\xff\xfe", 400), (b"{}", 400), (b"", 400)):
        answer = await live.call("POST", "/cell/crossings", gateway(live), content=body)
        assert answer.status_code == status, body[:20]


async def test_a_subject_without_a_fence_here_is_refused(live: Stand) -> None:
    subject = mint_subject_id()
    answer = await book(live, crossing(live, subject))
    assert (answer.status_code, answer.json()["code"]) == (404, "no_home")
    assert await booked_ids(live, subject) == []


async def test_what_a_fence_does_not_let_in_is_not_booked(live: Stand) -> None:
    subject, epoch = await live.place()
    frozen = await live.directory.operator.post(f"/v1/subjects/{subject}/freeze", {"epoch": epoch, "reason": "t"})
    await eventually(lambda: live.stands(subject, frozen.json()["placement"]["epoch"], "frozen"))
    writing, reading = crossing(live, subject, verb="write"), crossing(live, subject)
    answer = await book(live, writing)
    assert (answer.status_code, answer.json()["code"]) == (503, "subject_frozen")
    assert (await book(live, reading)).status_code == 204
    assert await booked_ids(live, subject) == [reading["id"]]


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        ("moved", 404, "subject_gone"),
        ("erased", 404, "subject_gone"),
        ("moving_in", 503, "subject_moving"),
        ("reserved", 503, "cell_behind"),
    ],
)
async def test_the_fence_in_the_database_decides_and_not_what_the_cell_remembers(
    live: Stand, state: str, status: int, code: str
) -> None:
    subject, _ = await live.place()
    dsns = live.dsns[live.cell.context.homes.get(subject).shard]
    await rows(dsns, "UPDATE domicile.home SET state = $2 WHERE subject_id = $1::uuid RETURNING state", subject, state)
    answer = await book(live, crossing(live, subject))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await booked_ids(live, subject) == []


async def test_a_booking_does_not_wait_for_a_cut_and_nothing_is_booked_behind_it(live: Stand) -> None:
    subject, epoch = await live.place()
    other, _ = await live.place()
    dsns = live.dsns[live.cell.context.homes.get(subject).shard]
    raising = "UPDATE domicile.home SET epoch = $2, state = 'moved' WHERE subject_id = $1"
    async with connect(dsns.owner) as cut, cut.transaction():
        await cut.execute(raising, subject, epoch + 1)
        answers = await asyncio.gather(*(book(live, crossing(live, one)) for one in (subject, other, subject, other)))
        assert [answer.status_code for answer in answers] == [503, 204, 503, 204]
        assert answers[0].json()["code"] == "cell_behind"
    assert (await book(live, crossing(live, subject))).status_code == 404
    assert await booked_ids(live, subject) == []


async def test_a_booking_under_way_holds_a_cut_off_until_it_is_durable(
    live: Stand, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cut is exact for crossings too: what is booked under a home stands in its shard when the cut has returned."""
    monkeypatch.setattr("cells.crossings.bookings.BOOK_S_MAX", 30.0)
    subject, epoch = await live.place()
    dsns = live.dsns[live.cell.context.homes.get(subject).shard]
    made = crossing(live, subject)
    async with (
        connect(postgres_server.dsn(database_of(dsns))) as watcher,
        connect(dsns.owner) as holder,
        holder.transaction(),
    ):
        # An uncommitted row of the same id keeps the booking waiting between its lock and its commit.
        await holder.execute(
            "INSERT INTO domicile.outbox (id, at, kind, actor, details) VALUES ($1, now(), 'crossing', 't', '{}')",
            f"crossing:{made['id']}",
        )
        booking = asyncio.ensure_future(book(live, made))  # noqa: TID251 - awaited below
        await eventually(lambda: _wait(watcher, 1))
        raised = await live.directory.operator.post(f"/v1/subjects/{subject}/epoch", {"epoch": epoch, "reason": "t"})
        await eventually(lambda: _wait(watcher, 2))
        assert live.cell.context.homes.get(subject).epoch == epoch
    assert (await booking).status_code == 204
    await eventually(lambda: live.stands(subject, raised.json()["placement"]["epoch"], "active"))
    assert await booked_ids(live, subject) == [made["id"]]


async def _wait(watcher: Any, expected: int) -> bool:
    """Whether so many statements wait for a lock in the watcher's database."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return await watcher.fetchval(sql) == expected


async def test_an_operator_sees_crossings_and_refusals_newest_first(live: Stand) -> None:
    subject, _ = await live.place()
    now = SystemClock().unix_s()
    first, second = crossing(live, subject, at=now - 3), crossing(live, subject, at=now - 1, observed_country=None)
    for made in (second, first):
        assert (await book(live, made)).status_code == 204
    other, _ = await live.place()
    assert await hand_over(live, refusal(subject, now - 2), refusal(other, now)) == 204
    answer = await shown(live, subject)
    assert answer["next"] is None
    assert [one["kind"] for one in answer["entries"]] == ["crossing", "refusal", "crossing"]
    newest, refused, oldest = answer["entries"]
    assert (newest["id"], oldest["id"]) == (f"crossing:{second['id']}", f"crossing:{first['id']}")
    assert newest["details"] == {
        name: value for name, value in second.items() if name not in ("id", "at", "subject_id")
    }
    assert (newest["actor"], newest["subject_id"]) == ("gateway:eu", subject)
    assert refused["details"] == {"code": "residency_refused", "ground": "no instrument"}


async def test_pages_show_every_record_once(live: Stand) -> None:
    subject, _ = await live.place()
    now = SystemClock().unix_s()
    at = [now - 1 - (n // 4) * 0.000_001 for n in range(20)]  # four at the same moment
    made = [crossing(live, subject, at=moment) for moment in at]
    assert {(await book(live, one)).status_code for one in made} == {204}
    refused = [refusal(subject, moment) for moment in at]
    assert await hand_over(live, *refused) == 204
    whole = (await shown(live, subject, limit=PAGE_MAX))["entries"]
    assert len(whole) == 40
    for limit in (1, 3, 7, 39, 40):
        entries, cursor = [], None
        while True:
            params = {"limit": limit} if cursor is None else {"limit": limit, "after": cursor}
            page = await shown(live, subject, **params)
            entries += page["entries"]
            cursor = page["next"]
            if cursor is None:
                break
        assert entries == whole, limit
    assert [one["at"] for one in whole] == sorted((one["at"] for one in whole), reverse=True)


async def test_a_record_that_comes_between_pages_neither_repeats_nor_hides_another(live: Stand) -> None:
    subject, _ = await live.place()
    now = SystemClock().unix_s()
    assert await hand_over(live, *(refusal(subject, now - n) for n in range(1, 5))) == 204
    page = await shown(live, subject, limit=2)
    assert await hand_over(live, refusal(subject, now)) == 204
    rest = await shown(live, subject, limit=2, after=page["next"])
    assert [one["at"] for one in page["entries"] + rest["entries"]] == pytest.approx([now - n for n in range(1, 5)])


async def test_each_reading_is_recorded_and_the_record_is_not_on_the_page(live: Stand) -> None:
    subject, _ = await live.place()
    assert (await shown(live, subject))["entries"] == []
    assert (await shown(live, subject, limit=7))["entries"] == []
    kept = await rows(
        live.dsns["s1"],
        "SELECT actor, details FROM domicile.outbox WHERE kind = 'access' AND subject_id = $1::uuid ORDER BY position",
        subject,
    )
    assert [row["actor"] for row in kept] == ["operator:ada"] * 2
    assert '"limit": 7' in kept[1]["details"]


async def test_a_subject_whose_home_is_elsewhere_shows_what_this_regions_gateways_recorded(live: Stand) -> None:
    subject = mint_subject_id()
    assert (await shown(live, subject))["entries"] == []
    assert await hand_over(live, refusal(subject, 1.8e9)) == 204
    assert [one["kind"] for one in (await shown(live, subject))["entries"]] == ["refusal"]


async def test_nobody_but_this_cells_operator_reads(live: Stand, tmp_path_factory: pytest.TempPathFactory) -> None:
    subject, _ = await live.place()
    stranger = ServiceIssuer(tmp_path_factory.mktemp("stranger"), audience=f"domicile:cell:{CELL}")
    for headers, status in (
        ({}, 401),
        (live.tokens.headers("operator:ada", ["operator"]), 401),  # the audience of all services
        (operator(live, cell="us-va"), 401),
        (operator(live, roles=("resolver", "gateway:eu", f"service:orders@{CELL}", f"cell:{CELL}")), 403),
        (operator(live, roles=()), 403),
        (gateway(live), 401),
        (live.service(), 401),
        (stranger.headers("operator:ada", ["operator"]), 401),
    ):
        answer = await live.call("GET", f"/cell/subjects/{subject}/crossings", headers)
        assert answer.status_code == status, headers
    read = "SELECT id FROM domicile.outbox WHERE kind = 'access' AND subject_id = $1::uuid"
    assert await rows(live.dsns["s1"], read, subject) == []


async def test_a_cells_operator_token_opens_nothing_else(live: Stand) -> None:
    subject, _ = await live.place()
    for path in (f"/cell/epochs/{subject}", "/cell/changes", "/records/notes"):
        assert (await live.call("GET", path, operator(live))).status_code == 401, path
    answer = await live.directory.operator._http.get(f"/v1/subjects/{subject}", headers=operator(live))
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        f"limit={PAGE_MAX + 1}",
        "limit=-1",
        "limit=x",
        "after=x",
        "after=",
        "after=" + "A" * 4_000,
        "limit=%00",
    ],
)
async def test_a_malformed_question_is_refused(live: Stand, query: str) -> None:
    answer = await live.call("GET", f"/cell/subjects/{mint_subject_id()}/crossings?{query}", operator(live))
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_an_id_that_is_no_subjects_is_refused(live: Stand) -> None:
    for text in ("x", "00000000", "%00", "' OR 1=1 --"):
        answer = await live.call("GET", f"/cell/subjects/{text}/crossings", operator(live))
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


OWN = "access crossing erasure exception fence grant job ledger_read lock release sign_in signup"


@pytest.mark.parametrize("prefix", [f"{own}:" for own in OWN.split()])
async def test_an_event_cannot_stand_in_for_one_of_the_cells_own(live: Stand, prefix: str) -> None:
    subject, _ = await live.place()
    made = crossing(live, subject)
    assert await hand_over(live, refusal(subject, 1.8e9, id=prefix + made["id"])) == 400
    assert (await book(live, made)).status_code == 204
    assert [one["id"] for one in (await shown(live, subject))["entries"]] == [f"crossing:{made['id']}"]


@pytest.mark.parametrize("change", [{"id": "nul\x00"}, {"actor": "nul\x00"}, {"details": {"a": ["nul\x00"]}}], ids=str)
async def test_an_event_that_no_database_keeps_is_refused_as_malformed(live: Stand, change: dict[str, Any]) -> None:
    assert await hand_over(live, refusal(mint_subject_id(), 1.8e9, **change)) == 400


@pytest.mark.parametrize("role", ["owner", "cell", "records"])
async def test_a_booked_crossing_is_changed_by_nobody_and_made_by_the_cell_alone(live: Stand, role: str) -> None:
    subject, _ = await live.place()
    made = crossing(live, subject)
    assert (await book(live, made)).status_code == 204
    dsns = live.dsns[live.cell.context.homes.get(subject).shard]
    allowed = (asyncpg.InsufficientPrivilegeError, asyncpg.PostgresError)
    async with connect(getattr(dsns, role)) as connection:
        for sql in (
            "UPDATE domicile.crossing SET ground = 'another'",
            "DELETE FROM domicile.crossing",
            "TRUNCATE domicile.crossing",
            "MERGE INTO domicile.crossing AS c USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE",
        ):
            with pytest.raises(allowed) as refused:
                await connection.execute(sql)
            assert refused.value.sqlstate == ("DM008" if role == "owner" else "42501")
        if role == "records":
            for sql in ("INSERT INTO domicile.crossing DEFAULT VALUES", "SELECT 1 FROM domicile.crossing"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(sql)
    assert await booked_ids(live, subject) == [made["id"]]


async def test_the_pages_questions_use_their_indexes(live: Stand) -> None:
    from cells.crossings.store import CROSSINGS_UNDER, EVENTS_UNDER

    async with connect(live.dsns["s1"].owner) as connection:
        await connection.execute("SET enable_seqscan = off")
        for sql, index in ((CROSSINGS_UNDER, "crossing_of_subject"), (EVENTS_UNDER, "outbox_of_subject")):
            arguments = f"('{mint_subject_id()}', now(), 5, 10)"
            await connection.execute(f"PREPARE asked AS {sql}")
            plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE asked{arguments}"))
            await connection.execute("DEALLOCATE asked")
            assert index in plan
            assert "Sort" not in plan


async def test_two_starters_migrate_a_shard_of_the_version_before_at_once(postgres_server: PostgresServer) -> None:
    name, dsns = await make_shard_database(postgres_server)
    try:
        assert await migrate(dsns.owner, MIGRATIONS[:1], track="shard") == 1
        async with connect(dsns.cell) as before:
            ran = await asyncio.gather(*(migrate(dsns.owner, MIGRATIONS, track="shard") for _ in range(3)))
            assert sorted(ran) == [0, 0, len(MIGRATIONS) - 1]
            # The version before goes on writing its outbox.
            await before.execute(
                "INSERT INTO domicile.outbox (id, at, kind, actor, details) VALUES ('e', now(), 'refusal', 'gateway:eu', '{}')"
            )
    finally:
        await drop_database(postgres_server, name)
