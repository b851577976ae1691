"""Real servers for tests: one Postgres and one Valkey a session (of each worker), on free ports; a fresh database a test."""

import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local import postgres, valkey
from deploy.local.account import data_folder, outside, unprivileged
from foundation.mute import Secret
from foundation.postgres import connect
from tests.stands.servers import free_port, listens, running
from tests.stands.waiting import wait_for


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """How tests are shared out over processes (`make test`)."""
    from xdist.scheduler import LoadFileScheduling

    class ByModule(LoadFileScheduling):
        """A module's tests stay together, so that its stand is started once; those that run whole stacks never run beside each other."""

        def _split_scope(self, nodeid: str) -> str:
            folder = "tests/acceptance/"
            return folder if nodeid.startswith(folder) else super()._split_scope(nodeid)

    return ByModule(config, log)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.PostgresServer]:
    """A real PostgreSQL 18, started once."""
    account = unprivileged()
    state = tmp_path_factory.mktemp("pg", numbered=True)
    server = postgres.PostgresServer(
        bin=postgres.bin_folder(state, account),
        data=data_folder(state, account) / f"pg-{secrets.token_hex(4)}" / "data",
        port=free_port(),
        password=Secret(secrets.token_urlsafe(16)),
        account=account,
    )
    postgres.prepare(server)
    # Durability is not what tests measure; everything else is as in the stack.
    with (server.data / "domicile.conf").open("a") as conf:
        conf.write("fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n")
    with running(server.command(), cwd="/", **server.popen_identity()):
        wait_for(lambda: postgres.answers(server))
        yield server
    shutil.rmtree(outside(state), ignore_errors=True)


@pytest.fixture
async def database(postgres_server: postgres.PostgresServer) -> AsyncIterator[Secret[str]]:
    """DSN (superuser) of an empty database of its own."""
    name = f"t_{secrets.token_hex(8)}"
    async with connect(postgres_server.dsn()) as admin:
        await admin.execute(f"CREATE DATABASE {name}")
    yield postgres_server.dsn(name)
    async with connect(postgres_server.dsn()) as admin:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[valkey.ValkeyServer]:
    """A real Valkey 9, started once."""
    server = valkey.ValkeyServer(
        folder=tmp_path_factory.mktemp("valkey"), port=free_port(), password=Secret(secrets.token_urlsafe(16))
    )
    server.prepare()
    with running(server.command()):
        wait_for(lambda: listens(server.port))
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
