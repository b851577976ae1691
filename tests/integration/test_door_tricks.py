"""The SQL door before a real Postgres, asked by whoever wants it to misread: odd names, odd texts, pipelines without Sync, portals kept."""

import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest

from cells.breakglass.door import frames
from cells.breakglass.door.runs import fields
from deploy.local.postgres import PostgresServer
from foundation.postgres import connect
from tests.stands.door import DoorStand, Raw, door_stand, raw, startup_packet
from tests.stands.door_talk import bind, parse

pytestmark = pytest.mark.anyio

SYNC, FLUSH = frames.message(b"S"), frames.message(b"H")


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """As in the product."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def stand(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DoorStand]:
    with pytest.MonkeyPatch.context() as patch:
        async with door_stand(postgres_server, tmp_path_factory.mktemp("tricks"), patch) as built:
            yield built


@asynccontextmanager
async def client(stand: DoorStand) -> AsyncIterator[Raw]:
    """A session that has begun; the record is of it alone."""
    async with raw(stand) as made:
        made.send(startup_packet(user="alice", database="s1"))
        await made.until(b"Z")
        stand.record.statements.clear()
        stand.record.outcomes.clear()
        yield made


def query(text: str) -> bytes:
    return frames.message(b"Q", frames.text(text))


def execute(portal: str = "", most: int = 0) -> bytes:
    return frames.message(b"E", frames.text(portal) + struct.pack("!i", most))


def close(of: str, name: str) -> bytes:
    return frames.message(b"C", of.encode() + frames.text(name))


async def asked(made: Raw, *messages: bytes) -> list[tuple[bytes, bytes]]:
    made.send(*messages)
    return await made.until(b"Z")


def values(told: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """The first column of each row."""
    return [body[6 : 6 + struct.unpack_from("!i", body, 2)[0]] for kind, body in told if kind == b"D"]


def codes(told: Sequence[tuple[bytes, bytes]]) -> list[str]:
    return [fields(body)["C"] for kind, body in told if kind == b"E"]


ODD = (
    "we'ird", 'qu"ote', "new\nline", "tab\t", "é", "€" * 21, "x" * 63, " ", ";", "-- c", "/*", "*/", "$$", "all", "ALL", "prepare",
    'U&"x"', "\\", "deallocate all; discard all", "\ufeff", "null", "%s", "{}",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD)
async def test_a_name_means_what_its_message_said_whatever_it_looks_like(stand: DoorStand, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    async with client(stand) as made:
        assert codes(await asked(made, parse("SELECT 'first'", name), SYNC)) == []
        assert values(await asked(made, query(f"EXECUTE {quoted}"))) == [b"first"]
        assert values(await asked(made, bind(name), execute(), SYNC)) == [b"first"]
        assert [one.text for one in stand.record.statements] == [
            "SELECT 'first'",
            f"EXECUTE {quoted}",
            "SELECT 'first'",
        ]
        assert codes(await asked(made, query(f"DEALLOCATE {quoted}"))) == []
        assert codes(await asked(made, query(f"PREPARE {quoted} AS SELECT 'second'"))) == []
        told = await asked(made, bind(name), execute(), SYNC)
        assert (codes(told), values(told)) == (["26000"], [])
        assert codes(await asked(made, query(f"DEALLOCATE {quoted}"))) == []
        assert values(await asked(made, parse("SELECT 'third'", name), bind(name), execute(), SYNC)) == [b"third"]
        assert stand.record.statements[-1].text == "SELECT 'third'"


@pytest.mark.parametrize("name", ["x" * 64, "€" * 22, "a: b"])
async def test_a_name_that_postgres_or_its_log_would_cut_ends_the_session(stand: DoorStand, name: str) -> None:
    async with client(stand) as made:
        made.send(parse("SELECT 1", name), SYNC)
        told = await made.until(b"Z")
        assert codes(told) in (["42622"], ["42602"])
        assert told[-1] == (b"", b"")
        assert stand.record.statements == []


SEVERAL = (
    ("SELECT $a$;$a$; SELECT $b$ $a$ ; $b$", [b";", b" $a$ ; "]),
    ("SELECT E'\\';'; SELECT 'it''s;'; SELECT U&'\\003B'", [b"';", b"it's;", b";"]),
    ("SELECT 1 /* ; /* ; */ SELECT 2; */; -- SELECT 3;\nSELECT 4", [b"1", b"4"]),
    (";;/**/;SELECT 'a' --'\r;SELECT 'b';;", [b"a", b"b"]),
    ("SELECT B'1'::text, X'3B'::text; SELECT N';'", [b"1", b";"]),
    ("SELECT 'a'\n'b;'; SELECT $$$$; SELECT '' ", [b"ab;", b"", b""]),
    ('SELECT 1 AS "a;b""c"; SELECT 2 AS U&"x\\003By"', [b"1", b"2"]),
    ("SET standard_conforming_strings = off; SELECT 'x\\\\'; RESET standard_conforming_strings", [b"x\\\\"]),
    ("BEGIN; SELECT 1; SAVEPOINT a; SELECT 2; ROLLBACK TO a; COMMIT; SELECT 3", [b"1", b"2", b"3"]),
)


@pytest.mark.parametrize(("text", "shown"), SEVERAL)
async def test_several_commands_in_one_text_are_one_statement_on_the_record_as_they_came(
    stand: DoorStand, text: str, shown: list[bytes]
) -> None:
    async with client(stand) as made:
        told = await asked(made, query(text))
        assert (codes(told), values(told)) == ([], shown)
        assert [(one.text, one.kind) for one in stand.record.statements] == [(text, "simple")]
        assert [(one.rows, one.error) for one in stand.record.outcomes] == [(len(shown), "")]


async def test_what_came_before_the_command_that_fails_is_told_with_its_rows(stand: DoorStand) -> None:
    async with client(stand) as made:
        told = await asked(made, query("SELECT name FROM people WHERE id < 4; SELECT 1 / 0; SELECT name FROM people"))
        assert (codes(told), len(values(told))) == (["22012"], 3)
        assert [(one.rows, one.error, one.tag) for one in stand.record.outcomes] == [(3, "22012", "")]


async def test_a_text_with_more_behind_its_end_or_in_another_encoding_ends_the_session(stand: DoorStand) -> None:
    for body in (
        b"SELECT 1\0SELECT 2\0",
        b"SELECT 1",
        b"SELECT '\xff'\0",
        b"SELECT '\xed\xa0\x80'\0",
        b"SELECT '\xc0\x80'\0",
    ):
        async with client(stand) as made:
            made.send(frames.message(b"Q", body))
            assert (await made.until(b"Z"))[-1] == (b"", b"")
            assert stand.record.statements == []


async def test_a_pipeline_without_sync_is_answered_recorded_and_told_of_one_by_one(stand: DoorStand) -> None:
    async with client(stand) as made:
        for number in range(20):
            made.send(parse(f"SELECT {number} + $1::int"), bind("", "", b"1"), execute(), FLUSH)
            told = await made.until(b"C")
            assert values(told) == [str(number + 1).encode()]
            assert (stand.record.statements[-1].text, stand.record.statements[-1].parameters) == (
                f"SELECT {number} + $1::int",
                (b"1",),
            )
        assert codes(
            await asked(made, parse("SELECT 1 / 0"), bind(), execute(), parse("SELECT 7"), bind(), execute(), SYNC)
        ) == ["22012"]
        assert [one.rows for one in stand.record.outcomes[:20]] == [1] * 20
        assert [one.withheld for one in stand.record.outcomes[21:]] == ["skipped"]
        assert values(await asked(made, parse("SELECT 8"), bind(), execute(), SYNC)) == [b"8"]


async def test_a_portal_that_is_kept_over_sync_shows_each_of_its_rows_on_the_record(stand: DoorStand) -> None:
    text = "SELECT id FROM people ORDER BY id"
    async with client(stand) as made:
        await asked(made, query("BEGIN"))
        stand.record.statements.clear()
        stand.record.outcomes.clear()
        seen = values(await asked(made, parse(text, "s"), bind("s", "p"), execute("p", 2), SYNC))
        seen += values(await asked(made, execute("p", 3), SYNC))
        seen += values(await asked(made, query("FETCH 1 FROM p")))
        seen += values(await asked(made, close("S", "s"), execute("p", 1), execute("p", 1), SYNC))
        assert seen == [str(number).encode() for number in range(1, 9)]
        assert [one.text for one in stand.record.statements] == [text, text, text, "FETCH 1 FROM p", text, text]
        assert [one.rows for one in stand.record.outcomes if not one.withheld] == [2, 3, 1, 1, 1]
        assert codes(await asked(made, query("ROLLBACK"))) == []
        assert codes(await asked(made, execute("p", 1), SYNC)) == ["34000"]


async def test_a_portal_that_is_closed_while_it_is_under_way_shows_nothing_more(stand: DoorStand) -> None:
    run = parse("SELECT id FROM people ORDER BY id"), bind("", "p"), execute("p", 2)
    async with client(stand) as made:
        await asked(made, query("BEGIN"))
        told = await asked(made, *run, close("P", "p"), execute("p", 2), SYNC)
        assert (values(told), codes(told)) == ([b"1", b"2"], ["34000"])
        await asked(made, query("ROLLBACK"))
        told = await asked(made, *run, close("P", "p"), parse("SELECT 'other'"), bind("", "p"), execute("p"), SYNC)
        assert (values(told), codes(told)) == ([b"1", b"2", b"other"], [])
        assert [one.text for one in stand.record.statements][-2:] == [
            "SELECT id FROM people ORDER BY id",
            "SELECT 'other'",
        ]
        assert [one.rows for one in stand.record.outcomes][-2:] == [2, 1]


COPIES = (
    "/*/* */*/COPY people TO STDOUT",
    "\f\vCOPY people TO STDOUT",
    "-- x\rCOPY people TO STDOUT",
    ";;\tCOPY (SELECT name FROM people) TO STDOUT",
    "copy/**/people to stdout",
    "COPY(SELECT name FROM people)TO STDOUT",
    "BEGIN;COPY people TO STDOUT",
    "SELECT 1;;-- ;\nCOPY people TO STDOUT",
    "SELECT $$;COPY$$;COPY people TO STDOUT (FORMAT binary)",
    "COPY notes FROM STDIN",
    "SELECT 1; COPY notes FROM STDIN",
    "COPY people TO PROGRAM 'cat'",
)


@pytest.mark.parametrize("text", COPIES)
@pytest.mark.parametrize("extended", [False, True])
async def test_no_spelling_of_copy_shows_or_takes_anything(stand: DoorStand, text: str, extended: bool) -> None:
    async with client(stand) as made:
        made.send(*((parse(text), bind(), execute(), SYNC) if extended else (query(text),)))
        told = await made.until(b"Z")
        assert not any(kind in (b"d", b"G", b"H", b"W") for kind, _ in told)
        assert not any(b"name 1" in body for _, body in told)
        assert len(codes(told)) == 1
    assert await stand.rows("SELECT id FROM notes") == []


HEARD = (
    "NOTIFY c, 'x'", "\vNOTIFY c", "-- \rNOTIFY c", ";NOTIFY c, 'x'", "SELECT 1;/**/NOTIFY c", "SELECT 'a' AS \"x;\"; NOTIFY c",
    "SELECT E'\\'; NOTIFY c; --'; NOTIFY c", "/* ; */ notify/**/c", "BEGIN; NOTIFY c; COMMIT", "SELECT $$;$$\n;\nNoTiFy c",
    "SET standard_conforming_strings = off; SELECT '\\''; NOTIFY c --'",
)  # fmt: skip


async def test_no_spelling_of_notify_reaches_anybody(stand: DoorStand) -> None:
    heard: list[object] = []
    async with connect(stand.admin) as admin:
        await admin.add_listener("c", lambda *said: heard.append(said))
        for text in HEARD:
            async with client(stand) as made:
                for messages in ((query(text),), (parse(text), bind(), execute(), SYNC), (parse(text, "n"), SYNC)):
                    assert len(codes(await asked(made, *messages))) == 1, text
                assert text not in stand.record.texts()
        await admin.execute("NOTIFY c, 'by the product'")
    assert [one[-1] for one in heard] == ["by the product"]  # type: ignore[index]


async def test_no_spelling_of_with_hold_keeps_a_cursor(stand: DoorStand) -> None:
    between = ("\f", "/**/", " -- x\r", "/*a*/ /*b*/", " -- a\n\n--b\n", "/* /* */ -- */", "\v\t\n")
    for gap in between:
        async with client(stand) as made:
            for text in (
                f"DECLARE c CURSOR WITH{gap}HOLD FOR SELECT 1",
                f"SELECT 1; BEGIN; DECLARE c CURSOR with{gap}hold FOR SELECT 1; COMMIT",
            ):
                assert codes(await asked(made, query(text))) == ["0A000"], text
            assert values(await asked(made, query("SELECT name FROM pg_cursors"))) == []


async def test_what_is_asked_while_a_query_runs_waits_and_is_recorded_in_its_turn(stand: DoorStand) -> None:
    async with client(stand) as made:
        many = [query(f"SELECT {number}") for number in range(50)]
        mixed = (
            parse("SELECT 'a'"),
            bind(),
            execute(),
            query("SELECT 'b'"),
            parse("SELECT 'c'"),
            bind(),
            execute(),
            SYNC,
        )
        made.send(*many, *mixed)
        seen: list[bytes] = []
        for _ in range(52):
            seen += values(await made.until(b"Z"))
        assert seen == [*(str(number).encode() for number in range(50)), b"a", b"b", b"c"]
        assert [one.text for one in stand.record.statements] == [
            *(f"SELECT {number}" for number in range(50)), "SELECT 'a'", "SELECT 'b'", "SELECT 'c'",
        ]  # fmt: skip


async def test_a_failure_skips_a_query_behind_it_too_up_to_the_sync(stand: DoorStand) -> None:
    async with client(stand) as made:
        told = await asked(
            made, parse("SELECT 1 / 0"), bind(), execute(), query("INSERT INTO notes (body) VALUES ('skipped')"), SYNC
        )
        assert (codes(told), [kind for kind, _ in told].count(b"Z")) == (["22012"], 1)
    assert await stand.rows("SELECT id FROM notes WHERE body = 'skipped'") == []


async def test_a_regular_expression_that_takes_for_ever_ends_by_a_cancel_and_by_its_time(stand: DoorStand) -> None:
    """An odd number of letters is never twice the same five words, and there are hundreds of millions of ways to try."""
    slow = r"SELECT repeat('a', 301) ~ '^(a+)(a+)(a+)(a+)(a+)\1\2\3\4\5$'"
    async with stand.asyncpg() as connection:
        with pytest.raises(TimeoutError):
            await connection.fetch(slow, timeout=0.5)
        await connection.execute("SET statement_timeout = '300ms'")
        with pytest.raises(asyncpg.QueryCanceledError):
            await connection.fetch(slow)
        assert await connection.fetchval("SELECT 1") == 1
