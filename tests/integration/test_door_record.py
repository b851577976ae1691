"""The SQL door before a real Postgres: what is on the record, and that nothing else is run."""

import asyncio
import struct

import asyncpg
import pytest

from cells.breakglass.door import frames
from cells.breakglass.door.ports import Ending
from cells.breakglass.door.runs import fields
from tests.stands.door import DoorStand, raw, startup_packet
from tests.stands.door_sessions import fresh, last, stand
from tests.stands.product_loop import anyio_backend
from tests.stands.waiting import eventually

__all__ = ["anyio_backend", "fresh", "stand"]
pytestmark = pytest.mark.anyio


async def test_asyncpgs_statements_are_recorded_as_they_run(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection:
        stand.record.statements.clear()
        prepared = await connection.prepare("SELECT name FROM people WHERE id = $1")
        other = await connection.prepare("SELECT born FROM people WHERE id = $1")
        for number in (1, 2):
            await prepared.fetch(number)
            await other.fetch(number)
        told = [
            (one.text.split()[1], struct.unpack("!i", one.parameters[0] or b"")[0])
            for one in stand.record.statements
            if one.kind == "extended"
        ]
        assert told == [("name", 1), ("born", 1), ("name", 2), ("born", 2)]
        assert [(one.rows, one.tag) for one in stand.record.outcomes[-4:]] == [(1, "SELECT 1")] * 4
        assert [(column.name, column.masked) for column in stand.record.outcomes[-2].columns] == [("name", True)]
        async with connection.transaction():
            fetched = [row["id"] async for row in connection.cursor("SELECT id FROM people ORDER BY id", prefetch=50)]
        assert fetched == list(range(1, 301))
        await connection.executemany("INSERT INTO notes (body) VALUES ($1)", [(f"b{n}",) for n in range(40)])
        values = [one.parameters for one in stand.record.statements if "INSERT" in one.text and one.kind == "extended"]
        assert values == [(f"b{n}".encode(),) for n in range(40)]
        assert len(await stand.rows("SELECT id FROM notes WHERE body LIKE 'b%'")) == 40


async def test_an_error_is_told_and_the_session_goes_on(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection:
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.fetch("SELECT 1 FROM nowhere")
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.fetch("SELECT 1 / $1::int", 0)
        assert (last(stand).error, last(stand).tag) == ("22012", "")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SELECT 1; SELECT pid FROM admitted; SELECT 2")
        assert last(stand).error == "42501"
        assert await connection.fetchval("SELECT 3") == 3


async def test_nothing_reaches_postgres_before_it_is_on_the_record(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection, asyncio.TaskGroup() as group:
        stand.record.goes_on.clear()
        simple = group.create_task(connection.execute("INSERT INTO notes (body) VALUES ('held')"))
        held = "SELECT count(*) AS n FROM pg_stat_activity WHERE usename = 'door_test_engineer' AND query LIKE '%held%'"
        await eventually(lambda: stand.record.waiting)
        assert (await stand.rows(held))[0]["n"] == 0
        assert await stand.rows("SELECT id FROM notes WHERE body = 'held'") == []
        stand.record.goes_on.set()
        assert await simple == "INSERT 0 1"
        assert (await stand.rows(held))[0]["n"] == 1


@pytest.mark.parametrize("extended", [False, True])
async def test_what_cannot_be_recorded_is_not_run_and_the_session_goes_on(stand: DoorStand, extended: bool) -> None:
    async with stand.asyncpg() as connection:
        stand.record.refuses = Ending.NOT_RECORDED
        arguments = ("unrecorded",) if extended else ()
        value = "$1" if extended else "'unrecorded'"
        with pytest.raises(asyncpg.PostgresError, match="on the record") as found:
            await connection.execute(f"INSERT INTO notes (body) VALUES ({value})", *arguments)
        assert found.value.sqlstate == "58030"
        stand.record.refuses = None
        assert await stand.rows("SELECT id FROM notes WHERE body = 'unrecorded'") == []
        assert await connection.fetchval("SELECT 1") == 1


async def test_copy_and_calls_are_refused_and_the_session_goes_on(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection:
        for text in ("COPY people TO STDOUT", "copy notes from stdin", "/* x */ COPY (SELECT 1) TO STDOUT"):
            with pytest.raises(asyncpg.FeatureNotSupportedError, match="COPY is refused"):
                await connection.execute(text)
        with pytest.raises(asyncpg.FeatureNotSupportedError, match="COPY is refused"):
            await connection.copy_from_query("SELECT 1", output=_nowhere)
        assert await connection.fetchval("SELECT 1") == 1
    async with raw(stand) as client:
        client.send(startup_packet(user="alice", database="s1"))
        await client.until(b"Z")
        client.send(frames.message(b"F", b"\0\0\3\xb8" + b"\0\0" * 3))
        (kind, body), *rest = await client.until(b"Z")
        assert (kind, fields(body)["C"], len(rest)) == (b"E", "0A000", 1)
        client.send(frames.message(b"Q", b"SELECT 1; COPY people TO STDOUT\0"))
        told = await client.until(b"")
        assert not any(kind == b"d" for kind, _ in told)
        assert fields(told[-2][1])["C"] == "0A000"


async def _nowhere(_piece: bytes) -> None:
    pass


async def test_what_sql_does_to_names_misleads_nobody(stand: DoorStand) -> None:
    async with raw(stand) as client:
        client.send(startup_packet(user="alice", database="s1"))
        await client.until(b"Z")
        bind = frames.message(b"B", b"\0s\0" + b"\0\0" * 3)
        execute, sync = frames.message(b"E", b"\0" * 5), frames.message(b"S")
        client.send(frames.message(b"P", b"s\0SELECT 'first'\0\0\0"), bind, execute, sync)
        assert (b"D", b"\0\1\0\0\0\5first") in await client.until(b"Z")
        for text in (b"DEALLOCATE s", b"PREPARE s AS SELECT 'second'"):
            client.send(frames.message(b"Q", text + b"\0"))
            await client.until(b"Z")
        client.send(bind, execute, sync)
        (kind, body), *_ = await client.until(b"Z")
        assert (kind, fields(body)["C"]) == (b"E", "26000")
        assert "SELECT 'second'" not in stand.record.texts()


async def test_what_sql_runs_by_a_name_that_a_message_gave_is_on_the_record_by_its_text(stand: DoorStand) -> None:
    async with raw(stand) as client:
        client.send(startup_packet(user="alice", database="s1"))
        await client.until(b"Z")
        client.send(frames.message(b"P", b"s\0SELECT 'by name'\0\0\0"), frames.message(b"S"))
        await client.until(b"Z")
        client.send(frames.message(b"Q", b"EXECUTE s\0"))
        assert (b"D", b"\0\1\0\0\0\7by name") in await client.until(b"Z")
        assert [one.text for one in stand.record.statements][-2:] == ["SELECT 'by name'", "EXECUTE s"]


@pytest.mark.parametrize("name", ["client_encoding", "Client_Encoding", "CLIENT_ENCODING"])
async def test_texts_are_read_as_utf8_whatever_is_asked_for_in_whatever_case(stand: DoorStand, name: str) -> None:
    async with raw(stand) as client:
        client.send(startup_packet(user="alice", database="s1", **{name: "GBK"}))
        await client.until(b"Z")
        client.send(frames.message(b"Q", b"SHOW client_encoding\0"))
        assert (b"D", b"\0\1\0\0\0\4UTF8") in await client.until(b"Z")


async def test_a_name_that_may_mean_something_else_by_now_means_nothing(stand: DoorStand) -> None:
    name = b"a" * 63
    async with raw(stand) as client:
        client.send(startup_packet(user="alice", database="s1"))
        await client.until(b"Z")
        client.send(frames.message(b"P", name + b"\0SELECT 'first'\0\0\0"), frames.message(b"S"))
        await client.until(b"Z")
        for said in (b"DEALLOCATE " + b"a" * 64, b"PREPARE " + name + b" AS SELECT 'second'"):
            client.send(frames.message(b"Q", said + b"\0"))
            await client.until(b"Z")
        client.send(
            frames.message(b"B", b"\0" + name + b"\0" + b"\0\0" * 3),
            frames.message(b"E", b"\0" * 5),
            frames.message(b"S"),
        )
        (kind, body), *_ = await client.until(b"Z")
        assert (kind, fields(body)["C"]) == (b"E", "26000")


MADE_ANEW = {
    "a portal of EXECUTE": ("PREPARE n AS {}", "EXECUTE n", "DEALLOCATE n", "p", ""),
    "a portal of FETCH": ("DECLARE n CURSOR FOR {}", "FETCH ALL FROM n", "CLOSE n", "p", ""),
    "a statement of EXECUTE": ("PREPARE n AS {}", "EXECUTE n", "DEALLOCATE n", "", "s"),
    "a statement of FETCH": ("DECLARE n CURSOR FOR {}", "FETCH ALL FROM n", "CLOSE n", "", "s"),
}


@pytest.mark.parametrize("what", MADE_ANEW)
async def test_no_row_is_read_by_the_columns_that_a_name_had_before(stand: DoorStand, what: str) -> None:
    """Postgres shows so many bytes of its own memory where a text was and a number is."""
    make, run, end, portal, name = MADE_ANEW[what]
    sync = frames.message(b"S")
    async with raw(stand) as client:
        client.send(startup_packet(user="alice", database="s1"))
        await client.until(b"Z")

        async def sent(*messages: bytes) -> list[tuple[bytes, bytes]]:
            client.send(*messages)
            return await client.until(b"Z")

        for text in ("BEGIN", make.format("SELECT 'abc'::text")):
            await sent(frames.message(b"Q", frames.text(text)))
        parsed = frames.message(b"P", frames.text(name, run) + b"\0\0")
        bound = frames.message(b"B", frames.text(portal, "") + b"\0\0" * 3)
        await sent(parsed, *([bound] if portal else []), sync)
        for text in (end, make.format("SELECT 4000")):
            await sent(frames.message(b"Q", frames.text(text)))
        if portal:
            told = await sent(frames.message(b"E", frames.text(portal) + b"\0" * 4), sync)
        else:
            told = await sent(frames.message(b"Q", frames.text(f"EXECUTE {name}")))
        assert [kind for kind, _ in told if kind == b"D"] == []


async def test_a_fetch_by_messages_shows_its_rows(stand: DoorStand) -> None:
    async with raw(stand) as client:
        client.send(startup_packet(user="alice", database="s1"))
        await client.until(b"Z")
        for text in ("BEGIN", "DECLARE c CURSOR FOR SELECT name FROM people ORDER BY id"):
            client.send(frames.message(b"Q", frames.text(text)))
            await client.until(b"Z")
        parsed = frames.message(b"P", frames.text("", "FETCH 2 FROM c") + b"\0\0")
        run = frames.message(b"D", b"P\0"), frames.message(b"E", b"\0" * 5), frames.message(b"S")
        client.send(parsed, frames.message(b"B", b"\0\0" + b"\0\0" * 3), *run)
        told = await client.until(b"Z")
        assert [body[-6:] for kind, body in told if kind == b"D"] == [b"name 1", b"name 2"]


async def test_no_text_is_read_in_another_encoding_than_it_is_recorded_in(stand: DoorStand) -> None:
    """In GBK the last byte of the sign and the backslash are one character, and the quote behind them ends the string. Postgres tells of
    another encoding only before it is ready again, and then of none, where it was put back."""
    evil = "SELECT E'€\\', (SELECT name FROM people WHERE id = 1) --'"

    def run(text: str) -> tuple[bytes, ...]:
        parsed = frames.message(b"P", b"\0" + text.encode() + b"\0\0\0")
        return parsed, frames.message(b"B", b"\0\0" + b"\0\0" * 3), frames.message(b"E", b"\0" * 5)

    async with raw(stand) as client:
        client.send(startup_packet(user="alice", database="s1"))
        await client.until(b"Z")
        there, back = (f"SELECT set_config('client_encoding', '{name}', false)" for name in ("GBK", "UTF8"))
        client.send(*run(there), *run(evil), *run(back), frames.message(b"S"))
        told = await client.until(b"Z")
        assert not any(b"name 1" in body for _, body in told)
        assert [fields(body)["C"] for kind, body in told if kind == b"E"] == ["0A000"]
        assert evil not in stand.record.texts()
        client.send(*run(evil), frames.message(b"S"))
        assert sum(kind == b"D" for kind, _ in await client.until(b"Z")) == 1


async def test_what_postgres_cannot_refuse_the_door_does(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection:
        for text in ("NOTIFY orders, 'paid'", "SELECT 1; notify orders"):
            with pytest.raises(asyncpg.FeatureNotSupportedError, match="NOTIFY is refused"):
                await connection.execute(text)
        with pytest.raises(asyncpg.FeatureNotSupportedError, match="NOTIFY is refused"):
            await connection.prepare("NOTIFY orders")
        with pytest.raises(asyncpg.FeatureNotSupportedError, match="WITH HOLD are refused"):
            await connection.execute("DECLARE c CURSOR WITH HOLD FOR SELECT name FROM people")
        assert await connection.fetchval("SELECT 'notify'") == "notify"


async def test_what_was_put_into_a_setting_is_not_shown_by_telling_of_it(stand: DoorStand) -> None:
    async with raw(stand) as client:
        client.send(startup_packet(user="alice", database="s1"))
        await client.until(b"Z")
        put = b"SELECT FROM (SELECT set_config('search_path', string_agg(quote_ident(name), ', '), false) AS s FROM people) AS p\0"
        client.send(frames.message(b"Q", put))
        told = await client.until(b"Z")
        assert not any(b"name 1" in body for _, body in told)
        assert any(kind == b"C" for kind, _ in told)
