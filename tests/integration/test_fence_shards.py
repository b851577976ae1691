"""The fence against concurrent writers, on real Postgres, in the product's form and in four forms that look right and are not."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import asyncpg
import pytest

from cells.shards.fence import fenced_read, fenced_write
from cells.shards.shard import Dsns, Shard
from deploy.local.postgres import PostgresServer
from directory.placement.core import State
from foundation.postgres import connect
from foundation.words import SubjectId, Verb, mint_subject_id
from tests.stands.shard import database_of, drop_database, home, make_shard_database, open_shard, place, rows, shard_of
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

Form = Callable[[], str]
WRITE = (
    "INSERT INTO product.notes (subject_id, id, epoch) SELECT $1::uuid, $3::uuid, $2::bigint FROM h RETURNING notes.id"
)
FENCE = "f.subject_id = $1::uuid AND f.epoch = $2::bigint AND f.state = 'active'"
INSERT = "INSERT INTO product.notes (subject_id, id, epoch) SELECT $1::uuid, $3::uuid, $2::bigint"
ANSWER = "SELECT EXISTS (SELECT 1 FROM _w) AS held, NULL::text AS row"


def ours() -> str:
    return fenced_write(WRITE, "to_json(_w)::text")


def exists_without_lock() -> str:
    return f"WITH _w AS ({INSERT} WHERE EXISTS (SELECT 1 FROM domicile.home AS f WHERE {FENCE}) RETURNING id) {ANSWER}"


def unreferenced_locking_cte() -> str:
    lock = f"SELECT 1 FROM domicile.home AS f WHERE {FENCE} FOR SHARE"
    check = f"EXISTS (SELECT 1 FROM domicile.home AS f WHERE {FENCE})"
    return f"WITH h AS MATERIALIZED ({lock}), _w AS ({INSERT} WHERE {check} RETURNING id) {ANSWER}"


def for_key_share() -> str:
    return ours().replace("FOR SHARE OF f", "FOR KEY SHARE OF f")


def advisory_lock_in_the_statement() -> str:
    lock = "SELECT pg_advisory_xact_lock_shared(hashtextextended($1::text, 0))"
    check = f"EXISTS (SELECT 1 FROM domicile.home AS f WHERE {FENCE})"
    return f"WITH a AS MATERIALIZED ({lock}), _w AS ({INSERT} FROM a WHERE {check} RETURNING id) {ANSWER}"


BROKEN = [exists_without_lock, unreferenced_locking_cte, for_key_share, advisory_lock_in_the_statement]

# A writer waits here between the fence and its row; a cut waits here between raising the fence and its commit.
WRITER_GATE, CUT_GATE = 101, 202
GATES = f"""
CREATE FUNCTION product.wait_at(gate int) RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_xact_lock_shared(gate)';
CREATE FUNCTION product.writer_gate() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_advisory_xact_lock_shared({WRITER_GATE}); RETURN NEW; END $$;
CREATE FUNCTION product.cut_gate() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_advisory_xact_lock_shared({CUT_GATE}); RETURN NEW; END $$;
CREATE TRIGGER writer_gate BEFORE INSERT ON product.notes FOR EACH ROW EXECUTE FUNCTION product.writer_gate();
CREATE TRIGGER cut_gate BEFORE INSERT ON domicile.outbox FOR EACH ROW EXECUTE FUNCTION product.cut_gate();
"""
# What a cut must do for writers that rely on an advisory lock: take it exclusively before the fence goes up.
ADVISORY_CUT = """
CREATE FUNCTION product.advisory_cut() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_advisory_xact_lock(hashtextextended(NEW.subject_id::text, 0)); RETURN NEW; END $$;
CREATE TRIGGER advisory_cut BEFORE UPDATE ON domicile.home FOR EACH ROW EXECUTE FUNCTION product.advisory_cut();
"""


class Stage:
    """A shard whose writers and cuts can be stopped at their gates."""

    def __init__(self, shard: Shard, dsns: Dsns, keeper: asyncpg.Connection) -> None:
        self.shard = shard
        self.dsns = dsns
        self.subject = mint_subject_id()
        self._keeper = keeper

    async def shut(self, gate: int) -> None:
        await self._keeper.execute("SELECT pg_advisory_lock($1)", gate)

    async def open(self, gate: int) -> None:
        await self._keeper.execute("SELECT pg_advisory_unlock($1)", gate)

    async def write(self, form: Form, epoch: int) -> bool:
        async with connect(self.dsns.records) as connection:
            return bool(await connection.fetchval(form(), self.subject, epoch, str(mint_subject_id())))

    async def waiting(self, number: int) -> None:
        """Until that many backends of this database wait for a lock."""
        sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        await eventually(lambda: self._counts(sql, number))

    async def _counts(self, sql: str, number: int) -> bool:
        return bool(await self._keeper.fetchval(sql) == number)

    async def rows_before(self, epoch: int) -> set[str]:
        found = await rows(self.dsns, "SELECT id::text FROM product.notes WHERE epoch < $1", epoch)
        return {row["id"] for row in found}


@asynccontextmanager
async def staged(server: PostgresServer, form: Form) -> AsyncIterator[Stage]:
    async with open_shard(server) as (shard, _, dsns), connect(server.dsn(database_of(dsns))) as keeper:
        await keeper.execute(GATES)
        if form is advisory_lock_in_the_statement:
            await keeper.execute(ADVISORY_CUT)
        stage = Stage(shard, dsns, keeper)
        await place(shard, stage.subject, 1)
        yield stage


async def late_rows_of_a_writer_inside(server: PostgresServer, form: Form) -> set[str]:
    """A writer is past the fence, its row not yet written; the cut comes. Rows that appear after the cut has returned."""
    async with staged(server, form) as stage:
        await stage.shut(WRITER_GATE)
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(stage.write(form, 1))
            await stage.waiting(1)
            cut = group.create_task(stage.shard.raise_fence(stage.subject, home(2)))
            # A cut that honours the writer waits as well; one that does not, returns.
            await eventually(lambda: cut.done() or _blocked(stage, 2))
            at_cut = await stage.rows_before(2) if cut.done() else None
            await stage.open(WRITER_GATE)
            await asyncio.gather(writer, cut)
            if at_cut is None:
                return set()  # the writer was let out first, and the cut returned after it
        return await stage.rows_before(2) - at_cut


async def _blocked(stage: Stage, number: int) -> bool:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return await stage._counts(sql, number)


async def late_rows_of_a_writer_that_arrives(server: PostgresServer, form: Form) -> set[str]:
    """The cut has raised the fence and not committed; a writer comes. Rows that appear after the cut has returned."""
    async with staged(server, form) as stage:
        await stage.shut(CUT_GATE)
        await stage.shut(WRITER_GATE)
        async with asyncio.TaskGroup() as group:
            cut = group.create_task(stage.shard.raise_fence(stage.subject, home(2)))
            await stage.waiting(1)
            writer = group.create_task(stage.write(form, 1))
            await eventually(lambda: writer.done() or _blocked(stage, 2))
            await stage.open(CUT_GATE)
            await cut
            at_cut = await stage.rows_before(2)
            await stage.open(WRITER_GATE)
            await writer
        return await stage.rows_before(2) - at_cut


async def late_rows(server: PostgresServer, form: Form) -> set[str]:
    inside = await late_rows_of_a_writer_inside(server, form)
    return inside | await late_rows_of_a_writer_that_arrives(server, form)


async def test_no_row_appears_after_the_cut_has_returned(postgres_server: PostgresServer) -> None:
    assert await late_rows(postgres_server, ours) == set()


@pytest.mark.parametrize("form", BROKEN, ids=lambda form: form.__name__)
async def test_a_form_that_lets_late_writers_through_is_caught(postgres_server: PostgresServer, form: Form) -> None:
    assert await late_rows(postgres_server, form) != set()


def share_lock_alone() -> str:
    """Ours without the closing row, which would send a newcomer away before it waits."""
    form = ours().replace("AND NOT EXISTS (SELECT 1 FROM domicile.closing AS c WHERE c.subject_id = $1::uuid)", "")
    assert "closing" not in form
    return form


async def test_a_writer_that_waited_for_the_cut_is_refused(postgres_server: PostgresServer) -> None:
    async with staged(postgres_server, ours) as stage:
        await stage.shut(CUT_GATE)
        async with asyncio.TaskGroup() as group:
            cut = group.create_task(stage.shard.raise_fence(stage.subject, home(2)))
            await stage.waiting(1)
            writer = group.create_task(stage.write(share_lock_alone, 1))
            await stage.waiting(2)
            await stage.open(CUT_GATE)
            assert await cut
        assert writer.result() is False
        assert await stage.rows_before(9) == set()


READ = fenced_read("SELECT t.id FROM live.notes AS t WHERE t.subject_id = $1::uuid", "to_json(_w)::text")


async def test_hundreds_of_writers_readers_and_epoch_changes_leave_no_row_under_an_old_epoch(
    postgres_server: PostgresServer,
) -> None:
    """After each cut a snapshot is taken of the rows under older epochs; at the end there must be no other."""
    async with open_shard(postgres_server) as (shard, _, dsns):
        subjects = [mint_subject_id() for _ in range(4)]
        current = dict.fromkeys(subjects, 1)
        for subject in subjects:
            await place(shard, subject, 1)
        snapshots: list[tuple[SubjectId, int, set[str]]] = []
        counts = {"written": 0, "fenced": 0, "read": 0, "unseen": 0}
        under = dict.fromkeys([(subject, epoch) for subject in subjects for epoch in range(1, 14)], 0)
        stop = anyio.Event()

        async def writer(number: int) -> None:
            subject = subjects[number % len(subjects)]
            while not stop.is_set():
                asked, row = current[subject], str(mint_subject_id())
                held = (await shard.fetch(ours(), (subject, asked, row), table="notes", verb=Verb.WRITE))[0]["held"]
                counts["written" if held else "fenced"] += 1
                under[subject, asked] += 1

        async def reader(number: int) -> None:
            subject = subjects[number % len(subjects)]
            while not stop.is_set():
                asked = current[subject]
                found = await shard.fetch(READ, (subject, asked), table="notes", verb=Verb.READ)
                counts["read" if found[0]["epoch"] == asked else "unseen"] += 1
                if found[0]["epoch"] != asked:
                    assert [row["row"] for row in found] == [None]

        async def cutter(subject: SubjectId) -> None:
            for epoch in range(2, 14):
                await eventually(lambda asked=epoch - 1: under[subject, asked] >= 10)
                assert await shard.raise_fence(subject, home(epoch))
                before = await rows(
                    dsns, "SELECT id::text FROM product.notes WHERE subject_id = $1 AND epoch < $2", subject, epoch
                )
                snapshots.append((subject, epoch, {row["id"] for row in before}))
                current[subject] = epoch

        async with asyncio.TaskGroup() as group:
            for number in range(160):
                group.create_task(writer(number))
            for number in range(60):
                group.create_task(reader(number))
            async with asyncio.TaskGroup() as cuts:
                for subject in subjects:
                    cuts.create_task(cutter(subject))
            stop.set()
        for subject, epoch, before in snapshots:
            found = await rows(
                dsns, "SELECT id::text FROM product.notes WHERE subject_id = $1 AND epoch < $2", subject, epoch
            )
            assert {row["id"] for row in found} == before
        assert len(snapshots) == 48
        assert counts["written"] > 100
        assert counts["read"] > 100
        closing = await rows(dsns, "SELECT * FROM domicile.closing")
        assert closing == []


async def test_a_fence_only_goes_up_and_is_never_deleted(postgres_server: PostgresServer) -> None:
    async with open_shard(postgres_server) as (shard, _, dsns):
        subject = mint_subject_id()
        assert await shard.raise_fence(subject, home(7))
        assert not await shard.raise_fence(subject, home(5, State.FROZEN))
        assert not await shard.raise_fence(subject, home(7))
        for sql in (
            "UPDATE domicile.home SET epoch = 3",
            "DELETE FROM domicile.home",
            "TRUNCATE domicile.home",
            f"UPDATE domicile.home SET subject_id = '{mint_subject_id()}'",
        ):
            with pytest.raises(asyncpg.PostgresError) as refused:
                await rows(dsns, sql)
            assert refused.value.sqlstate == "DM007"
        assert (await shard.fence(subject))[0] == home(7)


async def test_a_reservation_settles_under_its_own_epoch_and_nothing_unsettles_it(
    postgres_server: PostgresServer,
) -> None:
    async with open_shard(postgres_server) as (shard, _, _dsns):
        subject = mint_subject_id()
        assert await shard.raise_fence(subject, home(3, State.RESERVED))
        assert await shard.raise_fence(subject, home(3, State.ACTIVE))
        assert not await shard.raise_fence(subject, home(3, State.RESERVED))
        assert (await shard.fence(subject))[0] == home(3)


async def test_each_change_of_a_fence_is_recorded_once_in_its_own_transaction(postgres_server: PostgresServer) -> None:
    async with open_shard(postgres_server) as (shard, _, dsns):
        subject = mint_subject_id()
        for epoch in (1, 2, 2):
            await shard.raise_fence(subject, home(epoch))
        recorded = await rows(
            dsns, "SELECT kind, details::jsonb->>'epoch' AS epoch FROM domicile.outbox ORDER BY position"
        )
        assert [tuple(row) for row in recorded] == [("fence", "1"), ("fence", "2")]


async def test_a_cut_that_died_half_way_is_finished_when_the_shard_opens(postgres_server: PostgresServer) -> None:
    name, dsns = await make_shard_database(postgres_server)
    try:
        subject = mint_subject_id()
        async with shard_of(dsns).opened():
            await rows(dsns, "INSERT INTO domicile.home (subject_id, epoch, state) VALUES ($1, 1, 'active')", subject)
            await rows(
                dsns, "INSERT INTO domicile.closing (subject_id, epoch, state) VALUES ($1, 2, 'frozen')", subject
            )
        again = shard_of(dsns)
        async with again.opened():
            assert await again.fence(subject) == (home(2, State.FROZEN), False)
    finally:
        await drop_database(postgres_server, name)


async def test_a_cut_left_by_a_process_that_died_beside_us_is_finished_once_it_is_overdue(
    postgres_server: PostgresServer,
) -> None:
    name, dsns = await make_shard_database(postgres_server)
    try:
        overdue, young = mint_subject_id(), mint_subject_id()
        shard = shard_of(dsns)
        async with shard.opened():
            for subject, age in ((overdue, "1 minute"), (young, "1 second")):
                await rows(
                    dsns, "INSERT INTO domicile.home (subject_id, epoch, state) VALUES ($1, 1, 'active')", subject
                )
                begun = f"INSERT INTO domicile.closing (subject_id, epoch, state, since) VALUES ($1, 2, 'frozen', now() - interval '{age}')"
                await rows(dsns, begun, subject)
            await shard.finish_cuts()
            assert await shard.fence(overdue) == (home(2, State.FROZEN), False)
            assert await shard.fence(young) == (home(1), True)
    finally:
        await drop_database(postgres_server, name)


async def test_the_records_role_cannot_move_a_fence(postgres_server: PostgresServer) -> None:
    async with open_shard(postgres_server) as (shard, opened, _):
        subject = mint_subject_id()
        await place(shard, subject)
        for sql in (
            "UPDATE domicile.home SET epoch = 9",
            "UPDATE domicile.home SET state = 'frozen'",
            f"INSERT INTO domicile.home (subject_id, epoch, state) VALUES ('{mint_subject_id()}', 1, 'active')",
            f"INSERT INTO domicile.closing (subject_id, epoch, state) VALUES ('{subject}', 2, 'active')",
            "DELETE FROM domicile.home",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with opened.records.lease() as connection:
                    await connection.execute(sql)


@pytest.fixture(scope="module")
async def shelf(postgres_server: PostgresServer) -> AsyncIterator[tuple[Shard, Dsns]]:
    """One shard for tests that bring their own subjects."""
    async with open_shard(postgres_server) as (shard, _, dsns):
        yield shard, dsns


@pytest.mark.parametrize(
    ("state", "epoch", "timeout", "expected"),
    [
        (State.ACTIVE, 5, "1s", None),
        (State.ACTIVE, 4, "500ms", "DM001"),
        (State.ACTIVE, 6, "1s", "DM002"),
        (State.FROZEN, 5, "1s", "DM003"),
        (State.RESERVED, 5, "1s", "DM004"),
        (State.MOVED, 5, "1s", "DM005"),
        (State.ERASED, 5, "1s", "DM005"),
        (State.ACTIVE, 5, "0", "DM006"),
        (State.ACTIVE, 5, "2s", "DM006"),
    ],
)
async def test_the_fence_function_raises_a_state_of_its_own_for_each_refusal(
    shelf: tuple[Shard, Dsns], state: State, epoch: int, timeout: str, expected: str | None
) -> None:
    shard, dsns = shelf
    async with connect(dsns.records) as service:
        subject = mint_subject_id()
        await place(shard, subject, 5, state)
        await service.execute(f"SET transaction_timeout = '{timeout}'")
        if expected is None:
            await service.execute("SELECT domicile.fence($1, $2)", subject, epoch)
            return
        with pytest.raises(asyncpg.PostgresError) as refused:
            await service.execute("SELECT domicile.fence($1, $2)", subject, epoch)
        assert refused.value.sqlstate == expected
        assert getattr(refused.value, "detail", None) == ("5" if expected == "DM001" else None)


async def test_a_transaction_that_took_the_fence_holds_the_cut_off_and_then_it_returns(
    postgres_server: PostgresServer,
) -> None:
    async with open_shard(postgres_server) as (shard, _, dsns), connect(dsns.records) as service:
        subject = mint_subject_id()
        await place(shard, subject, 1)
        async with asyncio.TaskGroup() as group:
            async with service.transaction():
                await service.execute("SET LOCAL transaction_timeout = '1s'")
                await service.execute("SELECT domicile.fence($1, 1)", subject)
                cut = group.create_task(shard.raise_fence(subject, home(2)))
                closing = "SELECT 1 FROM domicile.closing"
                await eventually(lambda: _has(dsns, closing))
                assert not cut.done()
                async with connect(dsns.records) as newcomer, newcomer.transaction():
                    await newcomer.execute("SET LOCAL transaction_timeout = '1s'")
                    with pytest.raises(asyncpg.PostgresError) as refused:
                        await newcomer.execute("SELECT domicile.fence($1, 1)", subject)
                    assert refused.value.sqlstate == "DM002"
            assert await cut


async def _has(dsns: Dsns, sql: str) -> bool:
    return bool(await rows(dsns, sql))


async def test_a_cut_gets_through_sixty_four_overlapping_transactions(postgres_server: PostgresServer) -> None:
    """Writers that never leave the fence free: each holds it in turn, always many at once."""
    async with open_shard(postgres_server) as (shard, _, dsns):
        subject = mint_subject_id()
        await place(shard, subject, 1)
        stop = anyio.Event()
        inside = 0

        async def hold() -> None:
            nonlocal inside
            async with connect(dsns.records) as service:
                while not stop.is_set():
                    try:
                        async with service.transaction():
                            await service.execute("SET LOCAL transaction_timeout = '1s'")
                            await service.execute("SELECT domicile.fence($1, 1)", subject)
                            inside += 1
                            await service.execute("SELECT pg_sleep(0.01)")
                    except asyncpg.PostgresError as exc:
                        if exc.sqlstate not in ("DM001", "DM002"):
                            raise
                        return

        async with asyncio.TaskGroup() as group:
            for _ in range(64):
                group.create_task(hold())
            await eventually(lambda: inside >= 64)
            assert await shard.raise_fence(subject, home(2))
            stop.set()
        assert (await shard.fence(subject))[0] == home(2)


async def test_two_starters_and_another_shards_database(postgres_server: PostgresServer) -> None:
    name, dsns = await make_shard_database(postgres_server)
    try:
        first, second = shard_of(dsns), shard_of(dsns)
        async with first.opened(), second.opened():
            await place(first, mint_subject_id())
        stranger = shard_of(dsns, shard=type(first.id)(f"s{secrets.randbelow(90) + 2}"))
        with pytest.raises(Exception, match="belongs to another shard"):
            async with stranger.opened():
                pass
        assert stranger.up is None
    finally:
        await drop_database(postgres_server, name)
