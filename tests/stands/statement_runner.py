"""`python -m tests.stands.statement_runner FOLDER DSN ADMIN`: for each line on standard input, a name, a process that runs statements on
the record until it is killed.

It is forked. Its ledger lies in FOLDER/name/log; what it runs, it runs on the Postgres of DSN, each statement once it may: some fail. ADMIN
is for what is no statement of it. It says `pid N`, then `ran N` after each statement that has ended; when it is gone, `gone`.
"""

import asyncio
import os
import random
import sys
from pathlib import Path
from typing import Any, NoReturn

import asyncpg
import pytest

from cells.breakglass.door.ports import Outcome, Session, Statement, backend_of
from foundation.mute import Secret
from foundation.postgres import Connection, connect
from tests.stands.access_cell import access_stand
from tests.stands.sessions import certified_session, on_record

BACKEND = "SELECT pid, extract(epoch FROM backend_start)::float8 AS started FROM pg_stat_activity WHERE pid = $1"


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def statement(session: Session, number: int, chance: random.Random) -> Statement:
    text = chance.choice(("SELECT {0}", "SELECT 1/(0 * {0})", "SELECT '{0}',\n  'x: y' -- \"é\""))
    kind: Any = chance.choice(("simple", "extended"))
    return Statement(session=session.id, number=number, text=text.format(number), kind=kind)


async def ran(connection: Connection, asked: Statement) -> Outcome:
    try:
        if asked.kind == "simple":
            await connection.execute(asked.text)
        else:
            await connection.fetch(asked.text)
    except asyncpg.PostgresError as exc:
        return Outcome(session=asked.session, number=asked.number, error=str(exc.sqlstate))
    return Outcome(session=asked.session, number=asked.number, tag="SELECT 1", rows=1)


async def run(folder: Path, dsn: Secret[str], admin: Secret[str], name: str) -> None:
    chance = random.Random(name)
    with pytest.MonkeyPatch.context() as patch:
        async with access_stand(folder / name, patch) as stand, connect(dsn) as connection, connect(admin) as other:
            recording = stand.access.recording
            async with asyncio.TaskGroup() as group:
                for worker in recording.workers.values():
                    group.create_task(worker())
                session = await certified_session(stand, f"session-{name}")
                pid = connection.get_server_pid()
                row = await other.fetchrow(BACKEND, pid)
                assert row is not None
                await recording.recorder.opened(session, backend_of(row["started"], pid), lambda _: None)
                say(f"pid {os.getpid()}")
                for number in range(1, 1_000_000):
                    asked = statement(session, number, chance)
                    await on_record(recording.recorder, asked)
                    recording.recorder.ended(await ran(connection, asked))
                    say(f"ran {number}")


def forked(folder: Path, dsn: Secret[str], admin: Secret[str], name: str) -> NoReturn:
    try:
        (folder / name).mkdir()
        asyncio.run(run(folder, dsn, admin, name))
    except BaseException as exc:  # noqa: BLE001 - whoever reads is told
        say(f"fault {type(exc).__name__}: {exc}")
    finally:
        os._exit(1)


if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            forked(Path(sys.argv[1]), Secret(sys.argv[2]), Secret(sys.argv[3]), line.strip())
        os.waitpid(child, 0)
        say("gone")
