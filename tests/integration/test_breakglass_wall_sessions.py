"""Whose session a backend is, on real Postgres: what is shown before, while and after, and what an engineer can do to the role itself."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest

from cells.breakglass.door.ports import Column, Ending, NotRun
from cells.breakglass.roles import audited
from cells.breakglass.wall import proof, sessions, views
from cells.breakglass.wall.server import ENGINEER, preparation
from cells.breakglass.wall.wall import LOGIN_S, Wall
from cells.records.contracts import Class, Contract
from cells.shards.shard import LOST
from cells.shards.store import session as leased
from deploy.local.postgres import PostgresServer
from directory.placement.core import State
from foundation.postgres import connect
from tests.stands.shard import S1, drop_database, make_shard_database, notes, place, shard_of
from tests.stands.waiting import eventually
from tests.stands.wall import ALSO_HOME, HOME, KEY, World, contracts, world

pytestmark = pytest.mark.anyio

ROWS = "SELECT count(*) FROM people"


@pytest.fixture(scope="module")
async def here(postgres_server: PostgresServer) -> AsyncIterator[World]:
    async with world(postgres_server, 7) as built:
        yield built


async def changed(here: World, statement: str, *arguments: object) -> None:
    async with here.shard.as_owner() as owner:
        await owner.execute(statement, *arguments)


async def test_whom_nobody_admitted_sees_nothing(here: World) -> None:
    async with here.connected() as engineer:
        assert await engineer.fetchval(ROWS) == 0
        await here.wall.admit(here.session(inside=True), engineer.get_server_pid())
        assert await engineer.fetchval(ROWS) == 12


async def test_only_a_backend_of_engineers_is_admitted_and_each_once(here: World) -> None:
    async with here.shard.as_owner() as owner, here.connected() as engineer:
        for pid in (owner.get_server_pid(), 2**22 + 1):
            with pytest.raises(NotRun) as refused:
                await here.wall.admit(here.session(inside=True), pid)
            assert refused.value.ending is Ending.WALL
        mine = here.session(inside=False, subjects=(HOME,))
        began = await here.wall.admit(mine, engineer.get_server_pid())
        real = await owner.fetchval(
            "SELECT extract(epoch FROM backend_start) FROM pg_stat_get_activity($1)", engineer.get_server_pid()
        )
        assert real is None or abs(float(real) - began) < 1e-3
        with pytest.raises(NotRun):
            await here.wall.admit(here.session(inside=True), engineer.get_server_pid())
        assert await engineer.fetchval(ROWS) == 6
        with pytest.raises(NotRun):
            await here.wall.admit(here.session(inside=True, expires_at=1.0), engineer.get_server_pid())


async def test_another_backend_with_the_process_id_of_a_session_sees_nothing_of_it(here: World) -> None:
    async with here.engineer() as engineer:
        await changed(here, "UPDATE domicile.engineer_session SET backend_start = backend_start - interval '1 us'")
        assert await engineer.fetchval(ROWS) == 0


@pytest.mark.parametrize("how", ["expired", "left", "row gone"])
async def test_after_its_end_a_session_sees_nothing_in_whatever_it_had_begun(here: World, how: str) -> None:
    async with here.engineer() as engineer:
        await engineer.execute("BEGIN")
        await engineer.execute("PREPARE p AS SELECT count(*) FROM people")
        await engineer.execute("DECLARE c CURSOR FOR SELECT id FROM people")
        assert await engineer.fetchval("EXECUTE p") == 12
        if how == "expired":
            await changed(here, "UPDATE domicile.engineer_session SET expires_at = clock_timestamp()")
        else:
            await changed(here, "DELETE FROM domicile.engineer_session")
        assert await engineer.fetch("FETCH ALL FROM c") == []
        assert await engineer.fetchval("EXECUTE p") == 0


async def test_a_subject_that_moves_vanishes_from_a_transaction_that_has_seen_it(here: World) -> None:
    async with here.engineer() as engineer:
        async with engineer.transaction():
            await engineer.execute("DECLARE c CURSOR FOR SELECT id FROM people")
            assert await engineer.fetchval(ROWS) == 12
            await place(here.shard, ALSO_HOME, 2, State.MOVED)
            assert await engineer.fetchval(ROWS) == 6
            assert len(await engineer.fetch("FETCH ALL FROM c")) == 6
        await place(here.shard, ALSO_HOME, 3, State.ACTIVE)
        assert await engineer.fetchval(ROWS) == 12
        for level in ("REPEATABLE READ", "SERIALIZABLE"):
            await engineer.execute(f"BEGIN ISOLATION LEVEL {level}")
            with pytest.raises(asyncpg.PostgresError) as refused:
                await engineer.fetchval(ROWS)
            assert refused.value.sqlstate == "DM010"
            await engineer.execute("ROLLBACK")


async def test_a_transaction_in_which_somebody_has_left_is_ended_since_a_cursor_keeps_what_it_has_read(
    here: World,
) -> None:
    async with leased(here.shard.require().cell) as cell, here.engineer() as reader, here.engineer() as idle:
        await reader.execute("BEGIN")
        await reader.execute("DECLARE c CURSOR FOR SELECT id FROM people")
        assert len(await reader.fetch("FETCH 1 FROM c")) == 1
        pid = reader.get_server_pid()
        before, ended = await sessions.parted(cell, {})
        assert (ended, await sessions.parted(cell, before)) == (0, (before, 0))
        try:
            await place(here.shard, ALSO_HOME, 4, State.MOVED)
            now, ended = await sessions.parted(cell, before)
            assert ended == 1
            assert {one - now[name] for name, one in before.items()} == {frozenset({ALSO_HOME})}
            await eventually(lambda: _gone(cell, pid))
            assert await idle.fetchval(ROWS) == 6
        finally:
            await place(here.shard, ALSO_HOME, 5, State.ACTIVE)


async def test_the_walls_own_rounds_end_a_transaction_in_which_somebody_has_left(here: World) -> None:
    up = here.shard.require()
    async with leased(up.cell) as cell, here.engineer() as reader:
        pid = await _reading(reader)
        await here.wall._kept(S1, here.shard, up)
        assert len(await reader.fetch("FETCH 1 FROM c")) == 1
        try:
            await place(here.shard, ALSO_HOME, 6, State.MOVED)
            await here.wall._kept(S1, here.shard, up)
            await eventually(lambda: _gone(cell, pid))
        finally:
            await place(here.shard, ALSO_HOME, 7, State.ACTIVE)


@pytest.mark.parametrize("rounds_before", [0, 1])
async def test_whom_a_round_did_not_find_yet_the_next_one_knows(
    here: World, monkeypatch: pytest.MonkeyPatch, rounds_before: int
) -> None:
    """Admitted between the question who is at home and what comes of its answer."""
    up, parted = here.shard.require(), sessions.parted
    wall = Wall(shards={S1: here.shard}, contracts=contracts(), key=KEY)
    for _ in range(rounds_before):
        await wall._kept(S1, here.shard, up)
    async with leased(up.cell) as cell, here.connected() as reader:

        async def admitting(*asked: Any) -> Any:
            found = await parted(*asked)
            await wall.admit(here.session(inside=True), reader.get_server_pid())
            return found

        monkeypatch.setattr(sessions, "parted", admitting)
        await wall._kept(S1, here.shard, up)
        monkeypatch.undo()
        pid = await _reading(reader)
        try:
            await place(here.shard, ALSO_HOME, 8 + 2 * rounds_before, State.MOVED)
            await wall._kept(S1, here.shard, up)
            await eventually(lambda: _gone(cell, pid))
        finally:
            await place(here.shard, ALSO_HOME, 9 + 2 * rounds_before, State.ACTIVE)


async def _reading(reader: "asyncpg.Connection[asyncpg.Record]") -> int:
    """In the middle of a transaction, with a cursor that has read; its process."""
    await reader.execute("BEGIN")
    await reader.execute("DECLARE c CURSOR FOR SELECT id FROM people")
    assert len(await reader.fetch("FETCH 1 FROM c")) == 1
    return reader.get_server_pid()


async def test_who_leaves_is_cut_off_in_the_middle_of_a_statement(here: World) -> None:
    mine = here.session(inside=True)
    async with here.connected() as engineer:
        await here.wall.admit(mine, engineer.get_server_pid())
        await engineer.execute("BEGIN")
        await here.wall.leave(mine.id)
        await here.wall.leave(mine.id)
        await eventually(lambda: _ended(engineer))


async def _ended(engineer: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Whether the backend is gone; until then it shows nothing."""
    try:
        assert await engineer.fetchval(ROWS) == 0
    except (asyncpg.PostgresError, *LOST):
        return True
    return False


async def test_what_dead_doors_leave_behind_is_swept(here: World) -> None:
    async with leased(here.shard.require().cell) as cell:
        await sessions.sweep(cell)
        mine = here.session(inside=True)
        async with here.connected() as engineer:
            await here.wall.admit(mine, engineer.get_server_pid())
            assert await sessions.sweep(cell) == (0, 0)
        await eventually(lambda: _swept(cell))
        async with here.engineer() as long:
            pid = long.get_server_pid()
            await long.execute("BEGIN")
            assert await sessions.sweep(cell) == (0, 0)
            assert await sessions.sweep(cell, transaction_s=-1) == (0, 1)
            await eventually(lambda: _gone(cell, pid))
        async with here.connected() as stray, here.engineer() as other:
            assert await sessions.sweep(cell, unadmitted_s=-1) == (0, 1)
            await other.execute("BEGIN")
            assert await other.fetchval(ROWS) == 12
            await changed(here, "UPDATE domicile.engineer_session SET expires_at = clock_timestamp()")
            assert (await sessions.sweep(cell, unadmitted_s=-1))[0] == 1
            await eventually(lambda: _ended(stray))
            await eventually(lambda: _ended(other))


async def _gone(cell: Any, pid: int) -> bool:
    return (await cell.fetchval("SELECT count(*) FROM pg_stat_get_activity($1)", pid)) == 0


async def _swept(cell: Any) -> bool:
    return (await sessions.sweep(cell))[0] == 1


async def test_a_password_is_good_for_the_seconds_of_an_opening(here: World, postgres_server: PostgresServer) -> None:
    dsn = await here.wall.credentials(S1, inside=False)
    async with connect(postgres_server.dsn()) as admin:
        left = await admin.fetchval(
            "SELECT extract(epoch FROM rolvaliduntil - now()) FROM pg_roles WHERE rolname = $1", ENGINEER
        )
        assert 0 < left <= LOGIN_S
        await here.as_admin(preparation())
        with pytest.raises(asyncpg.InvalidPasswordError):
            async with connect(dsn):
                pass
        audit = await audited({S1: here.shard}, ())
        assert [one.role for one in audit.shards[0].door] == [ENGINEER]
        assert ENGINEER not in {one.role for one in audit.shards[0].standing}
        await admin.execute(f"ALTER ROLE {ENGINEER} VALID UNTIL 'infinity'")
        audit = await audited({S1: here.shard}, (ENGINEER,))
        assert ENGINEER in {one.role for one in audit.shards[0].standing}
        assert not audit.clean
    async with here.engineer() as engineer:
        assert await engineer.fetchval(ROWS) == 12


async def test_what_an_engineer_does_to_the_role_itself_is_put_back_at_the_next_opening(here: World) -> None:
    async with here.engineer() as engineer:
        await engineer.execute("SET default_transaction_read_only = off")
        await engineer.execute(f"ALTER ROLE {ENGINEER} PASSWORD 'mine'")
        await engineer.execute(f"ALTER ROLE {ENGINEER} SET search_path = nowhere")
        await engineer.execute(f"ALTER ROLE {ENGINEER} SET default_transaction_isolation = 'serializable'")
        await engineer.execute(
            f"ALTER ROLE {ENGINEER} IN DATABASE {await engineer.fetchval('SELECT current_database()')} SET timezone = 'UTC'"
        )
        await engineer.execute("DROP OWNED BY CURRENT_USER")
        await engineer.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC")
        assert await engineer.fetchval(ROWS) == 12
    async with here.engineer() as engineer:
        assert await engineer.fetchval(ROWS) == 12
        assert await engineer.fetchval("SHOW default_transaction_read_only") == "on"


@pytest.mark.parametrize("change", ["PASSWORD 'mine'", "SET timezone = 'UTC'"])
async def test_whoever_keeps_a_change_of_the_role_open_is_ended_so_that_the_next_one_comes_in(
    here: World, change: str
) -> None:
    async with here.engineer() as engineer, leased(here.shard.require().cell) as cell:
        await engineer.execute("BEGIN")
        await engineer.fetch("SELECT * FROM pg_roles, pg_db_role_setting")
        assert await sessions.sweep(cell) == (0, 0)
        await engineer.execute("ROLLBACK")
        await engineer.execute("SET default_transaction_read_only = off")
        await engineer.execute("BEGIN")
        await engineer.execute(f"ALTER ROLE {ENGINEER} {change}")
        assert (await sessions.sweep(cell))[1] == 1
        await eventually(lambda: _ended(engineer))
        async with here.engineer() as other:
            assert await other.fetchval(ROWS) == 12


async def test_what_postgres_logs_of_engineers_is_for_its_superuser_to_say(here: World) -> None:
    """By that log the record is held against what ran (`domicile access reconcile`)."""
    await here.as_admin(f"ALTER ROLE {ENGINEER} SET log_statement = 'all'")
    try:
        for _ in range(2):
            async with here.engineer() as engineer:
                shown = [
                    await engineer.fetchval(f"SHOW {one}") for one in ("log_statement", "default_transaction_read_only")
                ]
                assert shown == ["all", "on"]
                await engineer.execute("SET default_transaction_read_only = off")
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await engineer.execute(f"ALTER ROLE {ENGINEER} RESET log_statement")
                await engineer.execute(f"ALTER ROLE {ENGINEER} RESET ALL")
    finally:
        await here.as_admin(f"ALTER ROLE {ENGINEER} RESET log_statement")
    async with here.engineer() as engineer:
        assert await engineer.fetchval("SHOW log_statement") != "all"


OPENINGS = [
    ("GRANT SELECT ON pg_statistic TO PUBLIC", "it may read pg_statistic", "REVOKE SELECT ON pg_statistic FROM PUBLIC"),
    (f"GRANT SELECT (rolpassword) ON pg_authid TO {ENGINEER}", "it may read pg_authid",
     f"REVOKE SELECT (rolpassword) ON pg_authid FROM {ENGINEER}"),
    (f"GRANT domicile_records TO {ENGINEER}", "it is a member of domicile_records", f"REVOKE domicile_records FROM {ENGINEER}"),
    (f"ALTER ROLE {ENGINEER} CREATEDB", "it has rights of the whole server", f"ALTER ROLE {ENGINEER} NOCREATEDB"),
    ("GRANT USAGE ON SCHEMA product TO PUBLIC", "it may use schema product", "REVOKE USAGE ON SCHEMA product FROM PUBLIC"),
    ("CREATE TABLE public.x (a int); GRANT SELECT (a) ON public.x TO PUBLIC", "it may read public.x", "DROP TABLE public.x"),
    ("CREATE TABLE public.x (a int); GRANT INSERT ON public.x TO PUBLIC", "it may write public.x", "DROP TABLE public.x"),
    ("CREATE FUNCTION public.x() RETURNS int LANGUAGE sql AS 'SELECT 1'", "it may run public.x()", "DROP FUNCTION public.x()"),
    ("GRANT EXECUTE ON FUNCTION pg_sleep(double precision) TO PUBLIC", "it may run pg_sleep(double precision)",
     "REVOKE EXECUTE ON FUNCTION pg_sleep(double precision) FROM PUBLIC"),
    ("GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC", "it may write in language plpgsql", "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC"),
    ("GRANT CREATE ON SCHEMA public TO PUBLIC", "it may create in schema public", "REVOKE CREATE ON SCHEMA public FROM PUBLIC"),
    (f"GRANT SET ON PARAMETER log_statement TO {ENGINEER}", "it may set log_statement",
     f"REVOKE SET ON PARAMETER log_statement FROM {ENGINEER}"),
    (("CREATE FUNCTION product.told(text, text) RETURNS bool LANGUAGE sql SECURITY DEFINER AS 'SELECT $1 = name FROM product.people'; "
     "CREATE OPERATOR public.~~~ (FUNCTION = product.told, LEFTARG = text, RIGHTARG = text)"), "it may run product.told(text,text)",
     "DROP OPERATOR public.~~~ (text, text); DROP FUNCTION product.told(text, text)"),
    (("CREATE FUNCTION product.known(text) RETURNS bool LANGUAGE sql SECURITY DEFINER"
     " AS 'SELECT EXISTS (SELECT FROM product.people WHERE name = $1)'; "
     "CREATE DOMAIN public.known AS text CHECK (product.known(VALUE))"), "it may run product.known(text)",
     "DROP DOMAIN public.known; DROP FUNCTION product.known(text)"),
    (("CREATE FUNCTION product.alike(text, text) RETURNS bool LANGUAGE sql SECURITY DEFINER"
     " AS 'SELECT EXISTS (SELECT FROM product.people WHERE name = $1)'; "
     "CREATE OPERATOR product.~~~ (FUNCTION = product.alike, LEFTARG = text, RIGHTARG = text); "
     "CREATE DOMAIN public.alike AS text CHECK (VALUE OPERATOR(product.~~~) VALUE)"), "it may run product.alike(text,text)",
     "DROP DOMAIN public.alike; DROP OPERATOR product.~~~ (text, text); DROP FUNCTION product.alike(text, text)"),
    (f"GRANT ALTER SYSTEM ON PARAMETER log_statement TO {ENGINEER}", "it may set log_statement",
     f"REVOKE ALTER SYSTEM ON PARAMETER log_statement FROM {ENGINEER}"),
    ("CREATE FOREIGN DATA WRAPPER bare; GRANT USAGE ON FOREIGN DATA WRAPPER bare TO PUBLIC", "it may make servers of bare",
     "DROP FOREIGN DATA WRAPPER bare"),
    ("ALTER VIEW wall.people RESET (security_barrier)", "it may read wall.people", "ALTER VIEW wall.people SET (security_barrier)"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "finding", "undo"), OPENINGS, ids=[one[1] for one in OPENINGS])
async def test_a_wall_with_an_opening_lets_nobody_in(here: World, statement: str, finding: str, undo: str) -> None:
    tables = list(contracts())
    await here.as_admin(statement)
    try:
        async with leased(here.shard.require().cell) as cell:
            assert finding in await proof.openings(cell, tables)
        with pytest.raises(NotRun) as refused:
            await here.wall.credentials(S1, inside=True)
        assert refused.value.ending is Ending.WALL
    finally:
        await here.as_admin(undo)
    async with leased(here.shard.require().cell) as cell:
        assert await proof.openings(cell, tables) == ()


async def test_a_server_that_is_not_prepared_has_no_wall_and_serves_on(postgres_server: PostgresServer) -> None:
    name, dsns = await make_shard_database(postgres_server)
    try:
        shard = shard_of(dsns)
        async with shard.opened():
            wall = Wall(shards={S1: shard}, contracts={"notes": notes()}, key=KEY, sweep_s=0.05)
            with pytest.raises(NotRun):
                await wall.credentials(S1, inside=True)
            async with asyncio.TaskGroup() as group, connect(postgres_server.dsn(name)) as admin:
                keeping = group.create_task(wall.run())
                await admin.execute(preparation())
                await admin.execute(preparation())
                await eventually(lambda: admin.fetchval("SELECT to_regclass('wall.notes') IS NOT NULL"))
                keeping.cancel()
            assert f"{ENGINEER}:" in (await wall.credentials(S1, inside=True)).reveal()
    finally:
        await drop_database(postgres_server, name)


async def test_the_wall_follows_the_contracts(here: World) -> None:
    def weaker(contract: Contract, name: str, **changes: Any) -> Contract:
        column = msgspec.structs.replace(contract.columns[name], **changes)
        return msgspec.structs.replace(contract, columns={**contract.columns, name: column})

    people = contracts()["people"]
    stricter = {"people": weaker(weaker(people, "level", klass=Class.SPECIAL), "points", klass=None)}
    async with here.shard.as_owner() as owner:
        assert await views.install(owner, stricter)
    other = Wall(shards={S1: here.shard}, contracts=stricter, key=KEY)
    mine = here.session(inside=True)
    async with connect(await other.credentials(S1, inside=True)) as engineer:
        await other.admit(mine, engineer.get_server_pid())
        rows = await engineer.fetch("SELECT * FROM people")
        assert ({row["level"] for row in rows}, "points" in rows[0]) == ({None}, False)
        with pytest.raises(asyncpg.UndefinedTableError):
            await engineer.fetch("SELECT * FROM payments")
    async with here.shard.as_owner() as owner:
        assert await views.install(owner, contracts())
    async with here.engineer() as engineer:
        assert await engineer.fetchval("SELECT count(level) FROM people") == 12
        assert await engineer.fetchval("SELECT count(*) FROM payments") == 12


async def test_columns_are_named_by_where_they_come_from_and_whether_they_are_masked(here: World) -> None:
    mine = here.session(inside=True)
    async with here.connected() as engineer:
        await here.wall.admit(mine, engineer.get_server_pid())
        rows = await engineer.fetch(
            "SELECT attrelid::bigint AS t, attnum AS n, attname::text AS name FROM pg_attribute WHERE attrelid = 'wall.people'::regclass"
        )
    columns = tuple(Column(name="x", table=row["t"], attribute=row["n"]) for row in rows)
    named = {one.source.rpartition(".")[2]: one.masked for one in here.wall.named(mine, columns)}
    assert {name for name, masked in named.items() if not masked} == {"subject_id", "id", "handle", "points", "level"}
    outside = here.wall.named(msgspec.structs.replace(mine, inside=False), columns)
    assert {one.source for one in outside if not one.masked} == {
        f"wall.people.{name}" for name in ("subject_id", "id", "points", "level")
    }
    assert here.wall.named(mine, (Column(name="count"),)) == (Column(name="count"),)


async def test_no_plan_of_what_is_behind_a_view_is_told_to_who_asks_for_plans(here: World) -> None:
    """Its rows and costs rest on the statistics of tables that hold everybody."""
    heard = list[str]()

    def listens(_: object, message: Any) -> None:
        heard.append(f"{message.message} {getattr(message, 'detail', '')}")

    async with here.engineer() as engineer:
        engineer.add_log_listener(listens)
        await engineer.execute(
            "SET client_min_messages = log; SET debug_print_plan = on; SET debug_print_rewritten = on"
        )
        assert await engineer.fetchval(ROWS) == 12
        assert await engineer.fetchval("SELECT 7") == 7
        await eventually(lambda: any("PLANNEDSTMT" in one for one in heard))
        engineer.remove_log_listener(listens)
    assert [one for one in heard if ":relkind r" in one] == []


async def test_a_contract_of_a_table_that_is_not_there_shows_nothing_and_stops_no_other(here: World) -> None:
    await changed(here, "ALTER TABLE product.payments RENAME TO paid")
    try:
        async with here.engineer() as engineer:
            with pytest.raises(asyncpg.UndefinedTableError):
                await engineer.fetch("SELECT * FROM payments")
            assert await engineer.fetchval(ROWS) == 12
    finally:
        await changed(here, "ALTER TABLE product.paid RENAME TO payments")


ODD = [
    ("infinity", "infinity", "", ""),
    ("-infinity", "-infinity", "Zoë 7-x@Y.z", "Aaa 9-a@A.a"),
    ("4713-01-01 BC", "4713-01-01 BC", "漢字\n\t'\"\\$;😀", "aaaaaaaaaa"),
    ("5874897-12-31", "294276-12-31", "q" * 5_000, "a" * 200),
    ("9999-12-31", "9999-12-31 23:59:59Z", "İıẞß0", "aaaa9"),  # noqa: RUF001 - letters whose cases are odd
]


async def test_no_value_makes_a_mask_fail(here: World) -> None:
    insert = (
        "INSERT INTO product.people (subject_id, id, name, born, seen, rate)"
        " VALUES ($1, gen_random_uuid(), $2, $3::text::date, $4::text::timestamptz, 7)"
    )
    try:
        for born, seen, name, _ in ODD:
            await changed(here, insert, HOME, name, born, seen)
        for inside in (True, False):
            async with here.engineer(inside=inside) as engineer:
                rows = await engineer.fetch("SELECT name, born, seen, rate FROM people WHERE points IS NULL")
                assert sorted(row["name"] for row in rows) == sorted(masked if inside else "***" for *_, masked in ODD)
                assert {(row["born"], row["seen"], row["rate"]) for row in rows} == {(None, None, None)}
    finally:
        await changed(here, "DELETE FROM product.people WHERE rate = 7")
