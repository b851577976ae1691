"""Nothing runs that is not on the record, whatever clients do and whenever its process is killed: judged by Postgres' own log.
STATEMENT_KILLS=200 for the deep form, STATEMENT_SEED for other points."""

import asyncio
import csv
import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import asyncpg
import msgspec
import psycopg
import pytest
from click.testing import CliRunner

from cells.breakglass.statements import csvlog
from cells.breakglass.statements.entries import Closed, Intended, Noticed, Opened, notice_event
from cells.breakglass.statements.history import History, history
from cells.breakglass.statements.reading import kept
from cells.breakglass.statements.reconciling import reconciled
from cells.breakglass.statements.recorder import LEFT
from deploy.local import postgres
from deploy.local.account import data_folder, outside, unprivileged
from foundation.ledger.beside import payload
from foundation.ledger.log import Log
from foundation.mute import Secret
from foundation.postgres import connect
from gateway.cli.access import reconciling
from gateway.cli.main import cli
from tests.stands.access import SUBJECT
from tests.stands.access_cell import AccessStand, access_stand
from tests.stands.door import ROLE as DOOR_ROLE
from tests.stands.door import DoorStand, door_stand
from tests.stands.ledger import SIGNER, reader
from tests.stands.product_loop import anyio_backend
from tests.stands.servers import free_port, running
from tests.stands.waiting import eventually, wait_for

__all__ = ["anyio_backend"]

KILLS = int(os.environ.get("STATEMENT_KILLS", "3"))
LONG = 600
SEED = int(os.environ.get("STATEMENT_SEED", "7"))
ROLE = "domicile_engineer"
PASSWORD = Secret("only-in-tests")
CONF = """
fsync = off
logging_collector = on
log_destination = 'csvlog'
log_directory = 'log'
log_filename = 'postgres.log'
log_timezone = 'UTC'
"""


@pytest.fixture(scope="module")
def logging_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.PostgresServer]:
    """A Postgres that logs whatever is run as the engineers' role."""
    account, state = unprivileged(), tmp_path_factory.mktemp("pg-logging")
    server = postgres.PostgresServer(
        bin=postgres.bin_folder(state, account),
        data=data_folder(state, account) / f"pg-{secrets.token_hex(4)}" / "data",
        port=free_port(),
        password=Secret(secrets.token_urlsafe(16)),
        account=account,
    )
    postgres.prepare(server)
    with (server.data / "domicile.conf").open("a") as conf:
        conf.write(CONF)
    with running(server.command(), cwd="/", **server.popen_identity()):
        wait_for(lambda: postgres.answers(server))
        yield server
    shutil.rmtree(outside(state), ignore_errors=True)


@pytest.fixture(scope="module")
def engineer(logging_server: postgres.PostgresServer) -> Secret[str]:
    """The DSN of the engineers' role."""
    created = f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD.reveal()}'"
    asyncio.run(run(logging_server.dsn(), created, f"ALTER ROLE {ROLE} SET log_statement = 'all'"))
    return logging_server.dsn(user=ROLE, password=PASSWORD)


async def run(dsn: Secret[str], *statements: str) -> None:
    async with connect(dsn) as connection:
        for one in statements:
            await connection.execute(one)


class Runner:
    """The process that is killed, and what it has said."""

    def __init__(self, folder: Path, dsn: Secret[str], admin: Secret[str]) -> None:
        self.ran: dict[str, int] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.stands.statement_runner", str(folder), dsn.reveal(), admin.reveal()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], text=True, bufsize=1,
        )  # fmt: skip

    def round(self, name: str, says_max: int, then_s: float) -> None:
        """Kills it a moment after so many statements have ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{name}\n")
        said = stdout.readline()
        assert said.startswith("pid "), said
        for number in range(1, says_max + 1):
            assert stdout.readline() == f"ran {number}\n"
        time.sleep(then_s)  # not to wait for anything: when the kill falls is a matter of chance
        os.kill(int(said.split()[1]), signal.SIGKILL)
        self.ran[name] = says_max
        while (line := stdout.readline()) != "gone\n":
            assert line.startswith("ran "), line
            self.ran[name] = int(line.split()[1])

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)


def told(folder: Path) -> History:
    """What a ledger says once it was opened again."""
    with Log(folder, SIGNER):
        pass
    return history(kept(reader(folder), folder))


@pytest.fixture(scope="module")
def killed(
    engineer: Secret[str], logging_server: postgres.PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Runner]:
    """A folder of the ledgers of processes that were killed, and what these had said; below `as-killed` none of them is opened again."""
    folder, chance = tmp_path_factory.mktemp("killed"), random.Random(SEED)
    runner = Runner(folder, engineer, logging_server.dsn())
    try:
        for number in range(KILLS):
            # The first is long enough for results to be recorded, which are gathered for a while.
            says = LONG if number == 0 else chance.randrange(40)
            runner.round(f"r{number}", says, chance.random() * 0.02)
    finally:
        runner.end()
    for name in runner.ran:
        shutil.copytree(folder / name / "log", folder / "as-killed" / name / "log")
    return folder, runner


@pytest.mark.timeout(60 + 5 * KILLS)
def test_whatever_was_run_before_a_kill_is_in_the_ledger(
    killed: tuple[Path, Runner], logging_server: postgres.PostgresServer
) -> None:
    folder, runner = killed
    histories = [told(folder / name / "log") for name in runner.ran]
    logged = csvlog.read(csvlog.files_in([logging_server.data / "log"]))
    whole = History(sessions=tuple(sat for one in histories for sat in one.sessions), erased=0, strays=0)
    found = reconciled(whole, logged, (ROLE,))
    assert (found.unrecorded, found.missing) == ((), ())
    assert found.both + found.not_run + found.beyond >= sum(runner.ran.values()) > KILLS
    ended = [ran for sat in whole.sessions for ran in sat.statements if ran.result is not None]
    assert found.both >= sum(bool(ran.result and ran.result.tag) for ran in ended) > 0
    for name, one in zip(runner.ran, histories, strict=True):
        assert len(one.sessions[0].statements) in (runner.ran[name], runner.ran[name] + 1, runner.ran[name] + 2)
    # And a planted omission is found.
    sat = max(whole.sessions, key=lambda one: len(one.statements))
    lost = next(n for n, one in enumerate(sat.statements) if one.result is not None and one.result.tag)
    without = (*sat.statements[:lost], *sat.statements[lost + 1 :])
    sessions = [msgspec.structs.replace(one, statements=without) if one is sat else one for one in whole.sessions]
    planted = History(sessions=tuple(sessions), erased=0, strays=0)
    missed = reconciled(planted, logged, (ROLE,))
    assert [line.backend for line in missed.unrecorded] == [sat.opened.backend]


def one_session(found: Path, backend: str, to: Path) -> None:
    """A log with the lines of one session of the door, and whatever else is no session's."""
    with found.open(newline="") as logged, to.open("w", newline="") as out:
        csv.writer(out).writerows(row for row in csv.reader(logged) if row[5] == backend or row[1] != ROLE)


def test_the_command_finds_what_is_run_past_the_record(
    killed: tuple[Path, Runner],
    engineer: Secret[str],
    logging_server: postgres.PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconciling, "LOOK_S", 0.01)
    folder, runner = killed
    ledger = folder / next(iter(runner.ran)) / "log"
    (tmp_path / "log.vkey").write_text(SIGNER.verifier.text)
    found, given = logging_server.data / "log" / "postgres.csv", tmp_path / "postgres.csv"
    one_session(found, told(ledger).sessions[0].opened.backend, given)
    words = ["access", "reconcile", str(given), "--log", str(ledger), "--key", str(tmp_path / "log.vkey")]
    done = CliRunner().invoke(cli, [*words, "--json"])
    assert (done.exit_code, json.loads(done.stdout)["difference"]) == (0, 0), done.output
    asyncio.run(run(engineer, "SELECT 'past the record'"))
    wait_for(lambda: "past the record" in found.read_text())
    with given.open("a", newline="") as out, found.open(newline="") as logged:
        csv.writer(out).writerows(row for row in csv.reader(logged) if "past the record" in row[13])
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1
    assert "NOT IN THE LEDGER" in done.stdout
    assert "past the record" in done.stdout


async def by_asyncpg(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection:
        await connection.execute("SELECT 1; SELECT 2")
        prepared = await connection.prepare("SELECT name FROM people WHERE id = $1 -- é: x")
        for number in (1, 2, 2):
            assert await prepared.fetchval(number) == f"name {number}"
        await connection.executemany("INSERT INTO notes (body) VALUES ($1)", [("a",), ("b",), ("c",)])
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.fetch("SELECT id / (id - 1) FROM people ORDER BY id")
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await connection.fetch("SELEKT")
        async with connection.transaction():
            cursor = connection.cursor("SELECT id FROM people ORDER BY id", prefetch=7)
            assert [row["id"] async for row in cursor] == list(range(1, 301))


def several_at_once(connection: "psycopg.Connection[Any]", *texts: LiteralString) -> None:
    with connection.pipeline():
        for text in texts:
            connection.execute(text)


def by_libpq(stand: DoorStand) -> None:
    with psycopg.connect(stand.conninfo(), autocommit=True) as connection:
        assert connection.execute("SELECT %s::int", (1,), prepare=True).fetchone() == (1,)
        with connection.pipeline():
            for number in range(5):
                connection.execute("SELECT name FROM people WHERE id = %s", (number,))
        with pytest.raises(psycopg.errors.UndefinedColumn):
            several_at_once(connection, "SELECT 1", "SELECT nothing FROM people", "SELECT 3")
        with connection.transaction(), connection.cursor(name="of sql") as cursor:
            assert len(cursor.execute("SELECT id FROM people").fetchall()) == 300
        connection.execute("PREPARE mine AS SELECT 1")
        connection.execute("EXECUTE mine")
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            connection.execute("COPY people TO STDOUT")


@pytest.mark.anyio
async def test_what_clients_run_through_the_door_stands_in_ledger_and_log_alike(
    logging_server: postgres.PostgresServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with door_stand(logging_server, folder, monkeypatch, ledger=True) as stand:
        async with connect(stand.admin) as admin:
            await admin.execute(f"ALTER ROLE {DOOR_ROLE} SET log_statement = 'all'")
        await by_asyncpg(stand)
        await asyncio.to_thread(by_libpq, stand)
        log = folder / "log"

        def whole() -> History:
            assert stand.access.writer.log is not None
            stand.access.writer.log.publish()
            return history(kept(reader(log), log))

        await eventually(lambda: [one.end is not None for one in whole().sessions] == [True, True])
        ledger, logged = whole(), csvlog.read(csvlog.files_in([logging_server.data / "log"]))
        found = reconciled(ledger, logged, (DOOR_ROLE,))
        assert (found.unrecorded, found.missing) == ((), ())
        assert found.both > 60
        ran = [one for sat in ledger.sessions for one in sat.statements]
        assert all(one.result is not None for one in ran)
        assert "COPY people TO STDOUT" not in {one.text for one in ran}


def statements_in(log: Path) -> list[Intended]:
    """As far as it is signed for."""
    return [one.said for one in kept(reader(log), log) if isinstance(one.said, Intended)]


@pytest.mark.anyio
async def test_whatever_was_durable_at_a_kill_counts_in_the_end_the_notice_and_what_is_left_of_the_grant(
    killed: tuple[Path, Runner], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, runner = killed
    unsigned = 0
    for name, ran in runner.ran.items():
        shutil.copytree(folder / "as-killed" / name, tmp_path / name)
        log = tmp_path / name / "log"
        signed = len(statements_in(log))
        async with access_stand(tmp_path / name, monkeypatch) as stand, asyncio.TaskGroup() as group:
            tasks = [group.create_task(worker()) for worker in stand.access.recording.workers.values()]
            opened = next(one.said for one in kept(reader(log), log) if isinstance(one.said, Opened))
            spent = await stand.access.recording.recorder.spent(opened.grant)
            recorded = max(one.number for one in statements_in(log))
            assert recorded in (ran, ran + 1, ran + 2)
            unsigned += recorded - signed

            def closed(log: Path = log, stand: AccessStand = stand) -> list[Closed]:
                assert stand.writer.log is not None
                stand.writer.log.publish()
                return [one.said for one in kept(reader(log), log) if isinstance(one.said, Closed)]

            await eventually(closed)
            assert closed() == [Closed(session=opened.session, why=LEFT, statements=recorded)]
            (sat,) = history(kept(reader(log), log)).sessions
            found = reader(log).find(notice_event(opened.session, SUBJECT))
            held = None if found is None else payload(log, found)
            assert held is not None
            told = msgspec.json.decode(held.details, type=Noticed)
            without = sum(one.result is None for one in sat.statements)
            assert (told.statements, told.untold, spent.told) == (recorded, without, without == 0)
            assert spent.rows == sum(one.rows for one in sat.results)
            for task in tasks:
                task.cancel()
    assert unsigned, "some were durable that the killed process had not signed for"


@pytest.mark.anyio
async def test_a_restart_hands_out_no_second_budget(
    logging_server: postgres.PostgresServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, log = "SELECT n FROM generate_series(1, {}) AS n", folder / "log"
    async with door_stand(logging_server, folder, monkeypatch, ledger=True, rows_max=4_000) as stand:
        async with stand.asyncpg() as connection:
            assert len(await connection.fetch(rows.format(3_000))) == 3_000
            with pytest.raises(asyncpg.DivisionByZeroError):
                await connection.fetch("SELECT 1 / (n - n) FROM generate_series(1, 2) AS n")

        def ended() -> bool:
            assert stand.access.writer.log is not None
            stand.access.writer.log.publish()
            return any(isinstance(one.said, Closed) for one in kept(reader(log), log))

        await eventually(ended)
        (grant,) = stand.door._budgets._grants.values()
        async with stand.restarted(), stand.asyncpg() as connection:
            (again,) = stand.door._budgets._grants.values()
            assert again.budget == grant.budget, "to the byte"
            assert len(await connection.fetch(rows.format(900))) == 900
            with pytest.raises(asyncpg.ConnectionDoesNotExistError, match="used up"):
                await connection.fetch(rows.format(200))
