"""A product's migrations on a shard that serves: they go through, are found, named, kept to their table, mended without a restart."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from prometheus_client import REGISTRY

from cells.records.contracts import parse
from cells.records.limits import Limits
from cells.shards.live import view_sql
from cells.shards.standing import CHANGED
from deploy.local.postgres import PostgresServer
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.problems import Code, ProblemError, refuse
from foundation.words import Verb
from tests.stands.cell import stand
from tests.stands.records import RecordsStand, records_stand
from tests.stands.shard import NOTES, NOTES_DDL, PASSWORD, database_of, notes, rows, shard_of
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

PRODUCT = "product_team"
"""Owns the product's tables and nothing else; runs its migrations."""
MEMOS = NOTES.replace("table: notes", "table: memos")
MEMOS_DDL = (
    NOTES_DDL.replace("notes", "memos")
    .replace("CREATE SCHEMA product;", "")
    .replace("GRANT USAGE ON SCHEMA product TO domicile_records;", "")
)
FITS = "the table does not fit its contract: "


class Team:
    """The product's team on one shard: a connection as its own role."""

    def __init__(self, live: RecordsStand, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.live = live
        self._connection = connection

    async def migrate(self, sql: str) -> None:
        await self._connection.execute(f"BEGIN; {sql}; COMMIT")

    @asynccontextmanager
    async def migrating(self, sql: str) -> AsyncIterator[None]:
        """A migration that has done its work and not committed yet."""
        async with self._connection.transaction():
            await self._connection.execute(sql)
            yield

    async def refused(self, method: str = "GET", body: object = None) -> str:
        answer = await self.live.call(method, "", body)
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready"), answer.text
        assert answer.headers["domicile-refusal"] == "not_ready"
        return str(answer.json()["detail"])


@asynccontextmanager
async def product(server: PostgresServer, folder: Path) -> AsyncIterator[Team]:
    contracts = {"notes": notes(), "memos": parse(MEMOS, where="memos.yaml")}
    # All requests are one person's here, whose own limit would be met before the shard's connections are taken.
    limits = Limits(subject_statements=64)
    async with records_stand(server, folder, contracts, f"{NOTES_DDL};{MEMOS_DDL}", limits=limits) as live:
        async with connect(server.dsn(database_of(live.dsns))) as admin:
            with_role = f"CREATE ROLE {PRODUCT} LOGIN PASSWORD '{PASSWORD}'"
            await admin.execute(f"DO $$ BEGIN {with_role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
            await admin.execute(f"GRANT CREATE, USAGE ON SCHEMA product TO {PRODUCT} WITH GRANT OPTION")
            for table in ("notes", "memos"):
                await admin.execute(f"ALTER TABLE product.{table} OWNER TO {PRODUCT}")
        dsn = server.dsn(database_of(live.dsns), user=PRODUCT, password=Secret(PASSWORD))
        async with connect(dsn) as connection:
            yield Team(live, connection)


@pytest.fixture
async def team(postgres_server: PostgresServer, folder: Path) -> AsyncIterator[Team]:
    async with product(postgres_server, folder) as built:
        yield built


# Each is a migration as the product's own role runs it, what is then said, and what takes it back. Reads meet it, writes too.
BREAKING = [
    (
        "ALTER TABLE product.notes DROP COLUMN price",
        "product.notes has no column price",
        "ALTER TABLE product.notes ADD COLUMN price numeric",
    ),
    (
        "ALTER TABLE product.notes RENAME COLUMN price TO prize",
        "product.notes has no column price",
        "ALTER TABLE product.notes RENAME COLUMN prize TO price",
    ),
    (
        "ALTER TABLE product.notes ALTER COLUMN rank TYPE text",
        "product.notes.rank is text, the contract says int",
        "ALTER TABLE product.notes ALTER COLUMN rank TYPE int USING rank::int",
    ),
    (
        "ALTER TABLE product.notes RENAME TO notices",
        "there is no table product.notes",
        "ALTER TABLE product.notices RENAME TO notes",
    ),
    (
        "REVOKE SELECT, UPDATE ON product.notes FROM domicile_records",
        "role domicile_records lacks SELECT, UPDATE on product.notes",
        "GRANT SELECT, UPDATE ON product.notes TO domicile_records",
    ),
]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_statement_that_meets_the_change_first_says_what_a_look_would(team: Team, method: str) -> None:
    """Nobody looks here but the statement that fails: plans were made, and are held by connections, before the change."""
    await team.migrate("ALTER TABLE product.notes DROP CONSTRAINT notes_rank_check")
    for ddl, said, back in BREAKING:
        if method == "POST" and "price" not in ddl and "RENAME" not in ddl:
            continue  # a plain insert of what the table still takes does no harm
        for number in range(8):
            assert (await team.live.call("GET")).status_code == 200
            assert (await team.live.call("POST", "", {"total": number, "price": 1})).status_code == 201
        await team.migrate(ddl)
        assert await team.refused(method, {"rank": 2, "price": 1} if method == "POST" else None) == FITS + said
        assert (await team.live.call("GET", table="memos")).status_code == 200
        await team.migrate(back)
        await team.live.shard.look()
    assert (await team.live.call("POST", "", {"rank": 3})).status_code == 201


# What is said, what it stops, and what takes it back.
SILENT = [
    (
        "CREATE UNIQUE INDEX bodies ON product.notes (body)",
        "unique key bodies of product.notes must contain subject_id",
        ("GET", "POST"),
        "DROP INDEX product.bodies",
    ),
    (
        "ALTER TABLE product.notes DROP CONSTRAINT notes_pkey, ADD PRIMARY KEY (id)",
        "the primary key of product.notes must be (subject_id, id), it is (id)",
        ("GET", "POST"),
        "ALTER TABLE product.notes DROP CONSTRAINT notes_pkey, ADD PRIMARY KEY (subject_id, id)",
    ),
    (
        "ALTER TABLE product.notes ENABLE ROW LEVEL SECURITY",
        "row security is on for product.notes",
        ("GET", "POST"),
        "ALTER TABLE product.notes DISABLE ROW LEVEL SECURITY",
    ),
    (
        "ALTER TABLE product.notes ADD CONSTRAINT apart EXCLUDE (rank WITH =)",
        "exclusion key apart of product.notes must contain subject_id",
        ("GET", "POST"),
        "ALTER TABLE product.notes DROP CONSTRAINT apart",
    ),
    (
        "ALTER TABLE product.notes ADD COLUMN must text NOT NULL DEFAULT ''; ALTER TABLE product.notes ALTER must DROP DEFAULT",
        "product.notes.must must have a value, and no caller may give it one",
        ("POST",),
        "ALTER TABLE product.notes DROP COLUMN must",
    ),
    (
        "CREATE RULE elsewhere AS ON DELETE TO product.notes DO INSTEAD NOTHING",
        "rule elsewhere of product.notes rewrites writes",
        ("POST",),
        "DROP RULE elsewhere ON product.notes",
    ),
    (
        "ALTER TABLE product.notes DROP CONSTRAINT notes_pkey, ADD PRIMARY KEY (subject_id, id) DEFERRABLE",
        "the primary key of product.notes is deferrable",
        ("POST",),
        "ALTER TABLE product.notes DROP CONSTRAINT notes_pkey, ADD PRIMARY KEY (subject_id, id)",
    ),
    (
        "ALTER TABLE product.notes DROP COLUMN done, ADD COLUMN done boolean NOT NULL GENERATED ALWAYS AS (coalesce(rank, 0) > 0)",
        "product.notes.done is generated, the contract lets it be written",
        ("POST",),
        "ALTER TABLE product.notes DROP COLUMN done, ADD COLUMN done boolean NOT NULL DEFAULT false",
    ),
]


async def test_a_change_that_fails_no_statement_is_found_by_the_next_look(team: Team) -> None:
    for ddl, said, stopped, back in SILENT:
        await team.migrate(ddl)
        await team.live.shard.look()
        for method in stopped:
            assert said in await team.refused(method, {"body": "x"} if method == "POST" else None)
        assert (await team.live.call("GET")).status_code == (503 if "GET" in stopped else 200)
        assert (await team.live.call("POST", "", {"body": "x"}, table="memos")).status_code == 201
        await team.migrate(back)
        await team.live.shard.look()
        assert (await team.live.call("POST", "", {"body": ddl})).status_code == 201


ADDITIVE = [
    "ALTER TABLE product.notes ADD COLUMN more text NOT NULL DEFAULT 'm'",
    "ALTER TABLE product.notes ALTER COLUMN done DROP NOT NULL",
    "ALTER TABLE product.notes ADD CHECK (rank < 1000)",
    "CREATE INDEX ranks ON product.notes (rank)",
    "ALTER TABLE product.notes ALTER COLUMN id DROP DEFAULT, ALTER COLUMN id SET DEFAULT gen_random_uuid()",
    (
        "CREATE FUNCTION product.stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.more := ''now''; RETURN NEW; END';"
        "CREATE TRIGGER stamp BEFORE INSERT ON product.notes FOR EACH ROW EXECUTE FUNCTION product.stamp()"
    ),
]


async def test_what_no_contract_names_is_let_be_and_stays_invisible(team: Team) -> None:
    for number, ddl in enumerate(ADDITIVE, start=1):
        await team.migrate(ddl)
        await team.live.shard.look()
        assert (await team.live.call("POST", "", {"rank": number})).status_code == 201
        shown = (await team.live.call("GET")).json()
        assert len(shown) == number
        assert not any("more" in row for row in shown)
        assert (await team.live.call("GET", "?select=more")).json()["code"] == "42703"


async def test_every_mismatch_of_a_table_is_named_logged_once_a_change_and_counted(
    team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    def gauge() -> float | None:
        return REGISTRY.get_sample_value("domicile_cell_tables_refused", {"shard": "s1", "table": "notes"})

    def logged(event: str) -> list[dict[str, object]]:
        return [record.fields for record in caplog.records if record.msg == event]  # type: ignore[attr-defined]

    caplog.set_level(logging.INFO, "cells.shards.standing")
    assert gauge() == 0
    await team.migrate(
        "ALTER TABLE product.notes DROP COLUMN price, DROP COLUMN due, ADD COLUMN extras text;"
        "REVOKE DELETE ON product.notes FROM domicile_records"
    )
    for _ in range(3):
        await team.live.shard.look()
    said = await team.refused()
    for what in ("no column price", "no column due", "lacks DELETE"):
        assert what in said
    assert gauge() == 1
    (line,) = logged("table_refused")
    assert line["reason"] == said.removeprefix(FITS)
    assert (line["table"], line["shard"]) == ("notes", "s1")
    assert "extras" in str(logged("columns_unclassified")[-1]["column"])
    await team.migrate("GRANT DELETE ON product.notes TO domicile_records")
    await team.live.shard.look()
    assert len(logged("table_refused")) == 2
    await team.migrate("ALTER TABLE product.notes ADD COLUMN price numeric, ADD COLUMN due timestamptz")
    await team.live.shard.look()
    assert (gauge(), len(logged("table_fits"))) == (0, 1)
    assert (await team.live.call("GET")).status_code == 200


async def test_a_callers_own_mistake_is_still_the_callers(team: Team) -> None:
    for body, code in (({"done": None}, "23502"), ({"rank": -1}, "23514"), ({"rank": "x"}, "22P02")):
        answer = await team.live.call("POST", "", body)
        assert (answer.status_code, answer.json()["code"]) == (400, code)
    conflict = await team.live.call("POST", "?on_conflict=done", {"done": True}, prefer="resolution=merge-duplicates")
    assert (conflict.status_code, conflict.json()["code"]) == (400, "42P10")


async def test_a_fault_behind_a_table_that_fits_is_answered_without_its_sql(team: Team) -> None:
    await team.migrate(
        "CREATE FUNCTION product.broken() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM secret FROM product.nowhere; RETURN NEW; END';"
        "CREATE TRIGGER broken BEFORE INSERT ON product.notes FOR EACH ROW EXECUTE FUNCTION product.broken()"
    )
    said = await team.refused("POST", {"rank": 1})
    assert said == "table notes is being changed"


@pytest.mark.parametrize("verb", list(Verb))
async def test_no_code_of_a_changed_table_is_told_as_a_fault_of_ours(team: Team, verb: Verb) -> None:
    """Also those that our statements do not provoke today, such as 0A000, "cached plan must not change result type"."""
    for code in CHANGED:
        error = asyncpg.PostgresError("sql")
        error.sqlstate = code
        with pytest.raises(ProblemError) as told:
            await team.live.shard.met("notes", verb, error)
        assert told.value.problem == refuse(Code.NOT_READY, "table notes is being changed", retry_after_s=1).problem


async def test_a_table_swapped_for_another_of_its_name_is_read_from_there(team: Team) -> None:
    """The usual way to rebuild a large table: a view bound to the old one would go on showing its rows."""
    await team.live.stored({"rank": 1, "body": "old"})
    await team.migrate(
        "CREATE TABLE product.notes_new (LIKE product.notes INCLUDING ALL);"
        "INSERT INTO product.notes_new SELECT * FROM product.notes; UPDATE product.notes_new SET body = 'new';"
        "GRANT SELECT, INSERT, UPDATE, DELETE ON product.notes_new TO domicile_records;"
        "ALTER TABLE product.notes RENAME TO notes_old; ALTER TABLE product.notes_new RENAME TO notes; DROP TABLE product.notes_old"
    )
    assert [row["body"] for row in (await team.live.call("GET")).json()] == ["new"]


async def test_a_view_costs_no_more_than_its_table(team: Team) -> None:
    """The function under it is taken apart by the planner: the subject is looked up in the index, nothing is read whole."""
    async with connect(team.live.dsns.records) as records:
        await records.execute("SET enable_seqscan = off")
        sql = "EXPLAIN (FORMAT JSON) SELECT body FROM live.notes WHERE subject_id = '0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77'"
        plan = json.dumps(json.loads(await records.fetchval(sql)))
    assert "Function Scan" not in plan
    assert "subject_id = " in plan
    assert "Index" in plan


async def test_a_view_of_the_usual_form_would_stop_the_migration(team: Team) -> None:
    """What the other tests would meet: the view that is planted here is the one that Postgres binds to its table's columns."""
    async with connect(team.live.dsns.owner) as owner:
        await owner.execute(f"CREATE VIEW live.planted AS {view_sql(notes())}")
    with pytest.raises(asyncpg.DependentObjectsStillExistError):
        await team.migrate("ALTER TABLE product.notes DROP COLUMN price")


async def test_views_are_made_while_a_migration_holds_the_tables(team: Team) -> None:
    """A shard that is opened in the middle of a migration neither waits for it nor holds it up."""
    async with team.migrating(
        "ALTER TABLE product.notes ADD COLUMN more text; ALTER TABLE product.memos ADD COLUMN more text"
    ):
        async with connect(team.live.dsns.owner) as owner:
            await owner.execute("DROP VIEW live.notes; DROP VIEW live.memos; DROP FUNCTION live.memos()")
        async with asyncio.timeout(30):
            async with records_shard_again(team) as refused:
                assert refused == {}
    assert (await team.live.call("GET")).status_code == 200


@asynccontextmanager
async def records_shard_again(team: Team) -> AsyncIterator[dict[str, object]]:
    contracts = {"notes": notes(), "memos": parse(MEMOS, where="memos.yaml")}
    async with shard_of(team.live.dsns, contracts).opened() as opened:
        yield dict(opened.tables.refused)


class Load:
    """Readers and writers of one table until stopped; what they were answered."""

    def __init__(self, team: Team, table: str, workers: int) -> None:
        self.codes: Counter[int] = Counter()
        self.texts: set[str] = set()
        self._stop = asyncio.Event()
        self._team, self._table, self._workers = team, table, workers

    async def _work(self, number: int) -> None:
        while not self._stop.is_set():
            for method, body in (("POST", {"body": f"by {number}"}), ("GET", None)):
                query = "?limit=5" if method == "GET" else ""
                answer = await self._team.live.call(method, query, body, table=self._table)
                self.codes[answer.status_code] += 1
                if answer.status_code >= 400:
                    self.texts.add(answer.json()["detail"])
                    await asyncio.sleep(0.3)  # as a client does that is told to try again later

    async def served(self, more: int) -> None:
        before = self.codes.total()
        await eventually(lambda: self.codes.total() >= before + more, s_max=30)

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator["Load"]:
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._work(number))
            try:
                await self.served(20)
                yield self
            finally:
                self._stop.set()


async def test_migrations_run_under_load_and_no_other_table_notices(team: Team) -> None:
    """More callers than the shard has connections for the table that is changed; not one error on the other."""
    async with Load(team, "notes", 20).going_on() as changed, Load(team, "memos", 6).going_on() as other:
        async with team.migrating(
            "LOCK TABLE product.notes IN ACCESS EXCLUSIVE MODE; ALTER TABLE product.notes ADD COLUMN more text"
        ):
            await eventually(lambda: any("is under way" in text for text in changed.texts))
            await other.served(40)
        for ddl, said, back in BREAKING[:2]:
            await team.migrate(ddl)
            await eventually(lambda said=said: FITS + said in changed.texts)
            await other.served(20)
            await team.migrate(back)
            await team.live.shard.look()
            served = changed.codes[200]
            await eventually(lambda served=served: changed.codes[200] > served)
    assert set(other.codes) == {200, 201}
    assert set(changed.codes) <= {200, 201, 503, 504}
    assert all("product" not in text or text.startswith(FITS) for text in changed.texts), changed.texts


async def test_a_serving_cell_finds_drift_and_mending_by_itself(
    postgres_server: PostgresServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stand(postgres_server, folder, monkeypatch) as live, live.running():
        subject, epoch = await live.place()
        dsns = live.dsns[live.cell.context.homes.get(subject).shard]

        async def answers(status: int) -> bool:
            return (await live.call("GET", "/records/notes", live.decision(subject, epoch))).status_code == status

        assert await answers(200)
        await rows(dsns, "CREATE UNIQUE INDEX bodies ON product.notes (body)")
        await eventually(lambda: answers(503))
        assert live.cell.ready() is None
        await rows(dsns, "DROP INDEX product.bodies")
        await eventually(lambda: answers(200))
