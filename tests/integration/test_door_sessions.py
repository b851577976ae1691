"""The SQL door before a real Postgres: who comes in, what is on the record, how sessions end."""

import asyncio
import ssl
import stat
import struct
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import asyncpg
import pytest

from cells.breakglass.door import endings, frames
from cells.breakglass.door.ports import Ending, Outcome, Spent
from cells.breakglass.door.runs import fields
from deploy.local.postgres import PostgresServer
from foundation.settings import SettingsError
from gateway.cli.access import inside
from tests.stands.door import GSS_REQUEST, SSL_REQUEST, DoorStand, Raw, door_stand, raw, startup_packet
from tests.stands.servers import free_port
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """As in the product."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def stand(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DoorStand]:
    with pytest.MonkeyPatch.context() as patch:
        async with door_stand(
            postgres_server, tmp_path_factory.mktemp("door"), patch, rows_max=40_000, message_bytes_max=65_536
        ) as built:
            yield built


@pytest.fixture(autouse=True)
async def fresh(stand: DoorStand) -> AsyncIterator[None]:
    record = stand.record
    record.statements.clear()
    record.outcomes.clear()
    record.closings.clear()
    yield
    record.refuses, record.before = None, Spent()
    record.goes_on.set()
    record.end(Ending.ENDED)
    await eventually(lambda: not record.ends)


def last(stand: DoorStand) -> Outcome:
    return stand.record.outcomes[-1]


async def answer(stand: DoorStand, *sent: bytes) -> tuple[bytes, bytes]:
    """To bytes in the clear: the first message, or nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.door.port)
    try:
        writer.write(b"".join(sent))
        return await Raw(reader, writer).message()
    finally:
        writer.close()


# --- who comes in ------------------------------------------------------------------------------------------------------------


async def test_a_session_states_its_grant_and_leaves_nothing_behind(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection:
        assert await connection.fetchval("SELECT name FROM people WHERE id = $1", 7) == "name 7"
        (session,) = (stand.record.sessions[one] for one in stand.record.ends)
        assert (session.grant, session.engineer, session.shard) == (stand.grant, "engineer:alice", "s1")
        assert (session.inside, session.purpose, session.ticket) == (True, "debugging", "OPS-7")
        assert len(await stand.rows("SELECT pid FROM admitted")) == 1
        shown = await stand.access.get(f"grants/{stand.grant}", stand.access.who("alice"))
        assert shown.json()["phase"] == "active"
        await connection.close()
    await eventually(lambda: stand.record.closings == {session.id: "left"})
    assert await stand.rows("SELECT pid FROM admitted") == []
    await eventually(lambda: _none(stand))


async def _none(stand: DoorStand) -> bool:
    return await stand.backends() == 0


async def test_nothing_but_a_request_for_tls_is_met_in_the_clear(stand: DoorStand) -> None:
    kind, body = await answer(stand, startup_packet(user="alice", database="s1"))
    assert (kind, fields(body)["C"]) == (b"E", "28000")
    kind, body = await answer(stand, b"GET / HTTP/1.1\r\n\r\n")
    assert (kind, fields(body)["C"]) == (b"E", "08P01")


async def test_gss_is_declined_and_what_follows_the_request_for_tls_is_never_taken_for_what_is_inside(
    stand: DoorStand,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.door.port)
    writer.write(GSS_REQUEST)
    assert await reader.readexactly(1) == b"N"
    writer.write(SSL_REQUEST + startup_packet(user="alice", database="s1"))
    assert await reader.readexactly(1) == b"S"
    # What it answers to a startup packet where a handshake belongs is TLS's own alert, or the end.
    assert not (await reader.read(100)).startswith((b"E", b"R"))
    writer.close()


async def test_without_a_certificate_or_under_another_authority_nobody_comes_in(stand: DoorStand) -> None:
    before = len(stand.record.sessions)
    async with raw(stand, shown=False) as client:
        client.send(startup_packet(user="alice", database="s1"))
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await client.reader.readexactly(1)
    assert len(stand.record.sessions) == before


async def test_tls_without_a_request_goes_with_alpn(stand: DoorStand) -> None:
    for protocols, welcome in ((["postgresql"], b"R"), ([], b"")):
        context = stand.context()
        context.set_alpn_protocols(protocols)
        opened = asyncio.open_connection("127.0.0.1", stand.door.port, ssl=context, server_hostname="127.0.0.1")
        reader, writer = await opened
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.write(startup_packet(user="alice", database="s1"))
        assert (await Raw(reader, writer).message())[0] == welcome
        writer.transport.abort()


async def test_a_later_protocol_is_negotiated_down(stand: DoorStand) -> None:
    async with raw(stand) as client:
        client.send(startup_packet(196_610, **{"user": "alice", "database": "s1", "_pq_.x": "1"}))
        assert await client.message() == (b"v", struct.pack("!ii", 196_608, 1) + b"_pq_.x\0")
        assert (await client.until(b"Z"))[-1] == (b"Z", b"I")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"database": "s2"}, "3D000"),
        ({"database": "s1", "replication": "true"}, "0A000"),
        ({"database": "s1", "options": "-c jit=off"}, "0A000"),
        ({"database": "s1", "no_such_setting": "1"}, "42704"),
    ],
)
async def test_what_a_startup_must_not_ask_for_is_refused_with_why(
    stand: DoorStand, given: dict[str, str], code: str
) -> None:
    async with raw(stand) as client:
        client.send(startup_packet(user="alice", **given))
        kind, body = await client.message()
        assert (kind, fields(body)["C"], fields(body)["V"]) == (b"E", code, "FATAL")
        assert await client.message() == (b"", b"")


async def test_a_wall_that_does_not_stand_and_a_grant_that_ended_let_nobody_in(stand: DoorStand) -> None:
    stand.wall.refuses = True
    with pytest.raises(asyncpg.CannotConnectNowError):
        async with stand.asyncpg():
            pass
    stand.wall.refuses = False
    grant = stand.grant
    await stand.certified()
    stand.grant, kept = grant, stand.grant
    async with stand.asyncpg():
        pass
    await stand.access.post(f"grants/{kept}/revoke", stand.access.who("bob", "approver"), {"reason": "found it"})
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="opens nothing: ended"):
        async with stand.asyncpg():
            pass
    await stand.certified()


async def test_a_client_without_tls_comes_in_by_a_socket_of_its_own(stand: DoorStand, folder: Path) -> None:
    address = inside.DoorAddress("127.0.0.1", stand.door.port, stand.authorities)
    shown = inside.context(address, stand.certificate, stand.key)
    async with inside.relayed(folder, address, shown):
        path = folder / inside.SOCKET
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(path)
        client = Raw(reader, writer)
        client.send(startup_packet(user="alice", database="s1"), frames.message(b"Q", b"SELECT 'through'\0"))
        await client.until(b"Z")
        assert (b"D", b"\0\1\0\0\0\7through") in await client.until(b"Z")
        writer.close()
    with pytest.raises(SettingsError, match="cannot be reached"):
        async with inside.relayed(folder, inside.DoorAddress("127.0.0.1", free_port(), stand.authorities), shown):
            pass


# --- what is on the record ---------------------------------------------------------------------------------------------------


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


# --- how sessions end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [Ending.EXPIRED, Ending.LOCKED, Ending.STALE])
async def test_a_session_ends_when_it_has_to_while_a_statement_runs(stand: DoorStand, ending: Ending) -> None:
    async with stand.asyncpg() as connection:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(_error(connection.fetch("SELECT pg_sleep(60)")))
            await eventually(lambda: _sleeps(stand))
            stand.record.end(ending)
        assert endings.TOLD[ending].message in str(running.result())
    await eventually(lambda: list(stand.record.closings.values()) == [ending.value], s_max=1.0)
    await eventually(lambda: _none(stand), s_max=1.0)
    assert last(stand).error == "57P01"


async def _error(running: Awaitable[object]) -> Exception | None:
    try:
        await running
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as exc:
        return exc
    return None


async def _sleeps(stand: DoorStand) -> bool:
    found = await stand.rows("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
    return bool(found)


async def test_a_session_that_ends_while_a_statement_is_being_recorded_does_not_run_it(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection:
        stand.record.goes_on.clear()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(_error(connection.execute("INSERT INTO notes (body) VALUES ('late')")))
            await eventually(lambda: stand.record.waiting)
            stand.record.end(Ending.ENDED)
            stand.record.goes_on.set()
        assert endings.TOLD[Ending.ENDED].message in str(running.result())
    await eventually(lambda: _none(stand))
    assert await stand.rows("SELECT id FROM notes WHERE body = 'late'") == []


async def test_a_client_that_goes_away_ends_what_runs(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection, asyncio.TaskGroup() as group:
        group.create_task(_error(connection.fetch("SELECT pg_sleep(60)")))
        await eventually(lambda: _sleeps(stand))
        connection.terminate()
    await eventually(lambda: _none(stand))
    assert last(stand).error == "08006"


async def test_a_cancel_reaches_what_runs_by_the_doors_own_key_alone(stand: DoorStand) -> None:
    async with raw(stand) as client:
        client.send(startup_packet(user="alice", database="s1"))
        told = dict((await client.until(b"Z"))[::-1])
        pid, key = struct.unpack("!i", told[b"K"][:4])[0], told[b"K"][4:]
        (backend,) = await stand.rows("SELECT pid FROM pg_stat_activity WHERE usename = 'door_test_engineer'")
        assert pid != backend["pid"]
        client.send(frames.message(b"Q", b"SELECT pg_sleep(60)\0"))
        await eventually(lambda: _sleeps(stand))
        await _cancelled(stand, pid, bytes(4))
        await _cancelled(stand, pid + 1, key)
        assert await _sleeps(stand)
        await _cancelled(stand, pid, key)
        errors = [body for kind, body in await client.until(b"Z") if kind == b"E"]
        assert fields(errors[0])["C"] == "57014"


async def _cancelled(stand: DoorStand, pid: int, key: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.door.port)
    writer.write(struct.pack("!iii", 16, 80_877_102, pid) + key)
    assert await reader.read() == b""
    writer.close()


async def test_asyncpgs_own_cancel_is_mapped(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection:
        with pytest.raises(TimeoutError):
            await connection.fetch("SELECT pg_sleep(60)", timeout=0.2)
        assert await connection.fetchval("SELECT 1") == 1
        assert not await _sleeps(stand)


async def test_a_message_beyond_its_bound_ends_the_session(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection:
        with pytest.raises(asyncpg.ConnectionDoesNotExistError, match="at most 65536 bytes"):
            await connection.execute(f"SELECT '{'x' * 70_000}'")
    await eventually(lambda: list(stand.record.closings.values()) == ["malformed"])


async def test_a_client_that_reads_nothing_stops_the_shard_and_then_gets_every_row(stand: DoorStand) -> None:
    async with raw(stand) as client:
        client.send(startup_packet(user="alice", database="s1"))
        await client.until(b"Z")
        client.send(frames.message(b"Q", b"SELECT repeat('x', 1900) FROM generate_series(1, 15000)\0"))
        (shard,) = (one.wire for one in stand.door._cancels.values())
        await eventually(lambda: shard._paused)
        told = await client.until(b"Z")
        assert sum(kind == b"D" for kind, _ in told) == 15_000
        assert last(stand).rows == 15_000


async def test_a_grants_rows_are_bounded_over_its_sessions(stand: DoorStand) -> None:
    await stand.certified()
    rows = "SELECT n FROM generate_series(1, 25000) AS n"
    async with stand.asyncpg() as first:
        assert len(await first.fetch(rows)) == 25_000
        async with stand.asyncpg() as second:
            with pytest.raises(asyncpg.ConnectionDoesNotExistError, match="used up"):
                await second.fetch(rows)
    await eventually(lambda: _none(stand))
    await stand.certified()


async def test_what_a_grant_had_before_this_process_is_not_had_again(stand: DoorStand) -> None:
    await stand.certified()
    stand.record.before = Spent(rows=39_990)
    rows = "SELECT n FROM generate_series(1, {}) AS n"
    async with stand.asyncpg() as first:
        assert len(await first.fetch(rows.format(10))) == 10
        with pytest.raises(asyncpg.ConnectionDoesNotExistError, match="rows that this grant may show are used up"):
            await first.fetch(rows.format(1))
    await stand.certified()
    stand.record.before = Spent(told=False)
    with pytest.raises(asyncpg.PostgresError, match="is not known") as refused:
        async with stand.asyncpg():
            pass
    assert refused.value.sqlstate == endings.USED_UP
    await eventually(lambda: _none(stand))
    stand.record.before = Spent()
    await stand.certified()


async def test_a_session_whose_grant_has_no_more_room_on_the_record_ends_and_runs_nothing(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection:
        stand.record.refuses = Ending.SPENT
        with pytest.raises(asyncpg.ConnectionDoesNotExistError, match="put on the record is used up"):
            await connection.execute("INSERT INTO notes (body) VALUES ('beyond')")
    await eventually(lambda: list(stand.record.closings.values()) == [Ending.SPENT.value])
    assert await stand.rows("SELECT id FROM notes WHERE body = 'beyond'") == []


async def test_a_grant_has_so_many_sessions_and_no_more(stand: DoorStand) -> None:
    await stand.certified()
    opened = [stand.asyncpg() for _ in range(8)]
    for one in opened:
        await one.__aenter__()
    with pytest.raises(asyncpg.TooManyConnectionsError):
        async with stand.asyncpg():
            pass
    for one in opened:
        await one.__aexit__(None, None, None)
