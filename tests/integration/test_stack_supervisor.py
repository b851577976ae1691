"""`domicile up` over real servers: provisions, restarts what died, ends everything, recovers from being killed at bad moments."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local import files, lock
from deploy.local.account import data_folder, unprivileged
from deploy.local.layout import fixed_ports
from deploy.local.valkey import binary
from foundation.mute import Secret
from foundation.postgres import connect
from tests.stands.servers import free_port
from tests.stands.stack import Run, stack
from tests.stands.waiting import wait_for

pytestmark = pytest.mark.anyio
SMALL = ("valkey-eu", "issuer-eu")


def domicile(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "gateway.cli.main", *arguments, "--state", str(state)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The directory, its Postgres, one cell's Postgres and a Valkey, in a folder with a space and accents."""
    with stack(
        tmp_path_factory.mktemp("cell") / "stäte of me",
        "postgres-directory",
        "postgres-eu-de",
        "directory",
        "valkey-eu",
    ) as run:
        yield run


def dsns(run: Run) -> dict[str, Secret[str]]:
    return {name: Secret(value) for name, value in json.loads(run.paths.dsns.read_text()).items()}


@pytest.mark.parametrize("shard", ["S1", "S2"])
async def test_each_shard_has_its_owner_its_roles_and_the_products_tables(cell: Run, shard: str) -> None:
    async with connect(dsns(cell)[f"EU_DE_{shard}_OWNER"]) as owner:
        assert await owner.fetchval("SELECT current_user") == "domicile_owner"
        tables = await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'product' ORDER BY 1")
        assert [row["tablename"] for row in tables] == ["notes", "orders", "profiles"]
    for role in ("CELL", "RECORDS"):
        async with connect(dsns(cell)[f"EU_DE_{shard}_{role}"]) as other:
            assert await other.fetchval("SELECT current_user") == f"domicile_{role.lower()}"
            assert not await other.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")


async def test_the_rendered_policy_holds_once_the_stack_is_ready(cell: Run) -> None:
    asked = domicile("directory", "resolve", "--key", "A" * 32, "--json", state=cell.paths.state)
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["as_of"] >= 1
    async with connect(dsns(cell)["DIRECTORY_DSN"]) as directory:
        assert await directory.fetchval("SELECT current_user") == "domicile_directory"


def test_a_killed_child_is_restarted(cell: Run) -> None:
    before = cell.child("valkey-eu")
    os.kill(before["pid"], signal.SIGKILL)
    wait_for(lambda: cell.child("valkey-eu")["pid"] != before["pid"] and cell.child("valkey-eu")["state"] == "running")
    assert cell.child("valkey-eu")["restarts"] == before["restarts"] + 1


async def test_a_killed_postgres_recovers_with_its_rows(cell: Run) -> None:
    async with connect(dsns(cell)["EU_DE_S1_OWNER"]) as owner:
        await owner.execute("CREATE TABLE public.kept AS SELECT 42 AS answer")
    pid = cell.child("postgres-eu-de")["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: cell.child("postgres-eu-de")["pid"] != pid and cell.child("postgres-eu-de")["state"] == "running")
    async with connect(dsns(cell)["EU_DE_S1_OWNER"]) as owner:
        assert await owner.fetchval("SELECT answer FROM public.kept") == 42


def test_a_stopped_child_stays_stopped_until_it_is_started(cell: Run) -> None:
    state = cell.paths.state
    pid = cell.child("directory")["pid"]
    assert domicile("stack", "stop", "directory", state=state).returncode == 0
    assert gone([pid])
    assert cell.child("directory") | {"restarts": 0} == {
        "pid": None, "port": cell.child("directory")["port"], "state": "stopped", "restarts": 0,
    }  # fmt: skip
    assert domicile("status", "--json", state=state).returncode == 1
    assert domicile("stack", "start", "directory", state=state).returncode == 0
    assert cell.child("directory")["state"] == "running"
    assert domicile("status", "--json", state=state).returncode == 0


def test_a_second_stack_on_the_same_folder_is_refused_and_harms_nothing(cell: Run) -> None:
    for arguments in (("up",), ("up", "--detach")):
        second = domicile(*arguments, state=cell.paths.state)
        assert second.returncode == 1
        assert f"already (pid {cell.pid})" in second.stderr
    assert cell.document()["status"] == "ready"


def test_the_control_channel_asks_for_its_token(cell: Run) -> None:
    with socket.create_connection(("127.0.0.1", cell.document()["control"]["port"]), timeout=5) as stranger:
        stranger.sendall(b'{"token":"guess","op":"down"}\n')
        assert json.loads(stranger.makefile().readline())["error"] == "the token is wrong"
    assert cell.document()["status"] == "ready"


# --- leaving -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ending_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    with stack(tmp_path / "state", "valkey-eu", "issuer-eu", "postgres-directory") as run:
        pids = [child["pid"] for child in run.document()["processes"].values()]
        assert len(run.running_children()) >= 3
        assert run.end(number) == 0
        assert gone(pids)
        assert run.running_children() == []
        assert run.document()["status"] == "stopped"


def test_a_child_that_hears_nothing_is_ended_all_the_same(tmp_path: Path) -> None:
    with stack(tmp_path / "state", "issuer-eu") as run:
        pid = run.child("issuer-eu")["pid"]
        os.kill(pid, signal.SIGSTOP)
        run.running.send_signal(signal.SIGINT)
        wait_for(lambda: run.document()["status"] == "stopping")
        assert run.end(signal.SIGINT) == 0
        assert gone([pid])


def test_other_ports_are_said_to_make_strangers_of_those_who_signed_up(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with stack(state, "valkey-eu") as first:
        first.end()
        held = json.loads(first.paths.ports.read_text())
        first.paths.ports.write_text(json.dumps(held | {"issuer-eu": held["control"]}))
        with stack(state, "valkey-eu") as second:
            second.running.send_signal(signal.SIGTERM)
            assert "are strangers now" in second.words()


def test_detached_it_runs_on_until_down(tmp_path: Path) -> None:
    state = tmp_path / "state"
    started = domicile("up", "--detach", "--port-base", "0", "--only", "valkey-eu", "--json", state=state)
    try:
        assert started.returncode == 0, started.stderr
        document = json.loads(started.stdout)
        assert document["processes"]["valkey-eu"]["state"] == "running"
    finally:
        ended = domicile("down", state=state)
    assert ended.returncode == 0, ended.stderr
    assert gone([document["pid"], document["processes"]["valkey-eu"]["pid"]])
    assert "no stack runs" in domicile("down", state=state).stdout
    assert domicile("reset", "--yes", state=state).returncode == 0
    assert not state.exists()


def test_taking_the_state_folder_away_ends_the_stack(tmp_path: Path) -> None:
    with stack(tmp_path / "state", "valkey-eu") as run:
        pid = run.child("valkey-eu")["pid"]
        shutil.rmtree(run.paths.state)
        assert run.running.wait(30) == 0
        assert gone([pid])


# --- bad starts --------------------------------------------------------------------------------------------------------------


def test_a_taken_port_is_named_with_who_needs_and_who_holds_it(tmp_path: Path) -> None:
    base = free_port() % 20_000 + 12_000
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = squatter.getsockname()[1]
        state = tmp_path / "state"
        state.mkdir()
        files.write(state / "ports.json", json.dumps(fixed_ports(base) | {"directory": taken}))
        with Run(state, *SMALL, port_base=None) as run:
            run.start()
            assert run.running.wait(30) == 1
            assert f"{taken} (for directory; held by" in run.words()


def test_a_killed_supervisor_takes_its_children_along_and_the_next_start_works(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with stack(state, *SMALL, "postgres-directory") as first:
        pids = [child["pid"] for child in first.document()["processes"].values()]
        first.end(signal.SIGKILL)
        if sys.platform == "linux":
            wait_for(lambda: gone(pids))
        with stack(state, *SMALL, "postgres-directory") as second:
            assert gone(pids)
            assert second.document()["processes"].keys() == first.document()["processes"].keys()


def test_a_leftover_of_a_killed_supervisor_is_ended_before_a_start(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with stack(state, "valkey-eu") as first:
        first.end()
        # What a system without parent-death signals leaves behind: a server on this state folder with no supervisor.
        conf = state / "valkey" / "eu" / "valkey.conf"
        orphan = subprocess.Popen([str(binary()), str(conf)], stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: any(found.pid == orphan.pid for found in first.running_children()))
            with stack(state, "valkey-eu") as second:
                assert orphan.wait(10) is not None
                assert second.child("valkey-eu")["pid"] != orphan.pid
        finally:
            orphan.kill()
            orphan.wait()


def test_stale_files_of_a_crash_do_not_stop_a_start(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with stack(state, "postgres-directory") as first:
        first.end()
        server = data_folder(state, unprivileged()) / "postgres" / "directory"
        # A pid file naming a process that lives (this one) but is no Postgres, a half made data folder, an old lock file.
        (server / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{server / 'data'}\n")
        (server / "data.0badc0de.partial" / "base").mkdir(parents=True)
        (state / "lock").write_text(f"{os.getpid()}\n")
        assert not lock.is_held(state / "lock")
        with stack(state, "postgres-directory") as second:
            assert second.child("postgres-directory")["state"] == "running"
            assert not list(server.glob("data.*"))


def _reached(moment: str, state: Path) -> bool:
    server = data_folder(state, unprivileged()) / "postgres" / "eu-de"
    match moment:
        case "initdb":
            return any(server.glob("data.*.partial/base"))
        case "postgres starting":
            return (server / "data" / "postmaster.pid").exists()
        case _:
            base = server / "data" / "base"
            return base.exists() and len(list(base.iterdir())) > 3


@pytest.mark.parametrize("moment", ["initdb", "postgres starting", "provisioning"])
async def test_a_start_killed_half_way_is_made_good_by_the_next(tmp_path: Path, moment: str) -> None:
    state = tmp_path / "state"
    with Run(state, "postgres-eu-de") as first:
        first.start()
        wait_for(lambda: _reached(moment, state))
        first.end(signal.SIGKILL)
        with stack(state, "postgres-eu-de") as second:
            async with connect(dsns(second)["EU_DE_S2_OWNER"]) as owner:
                assert await owner.fetchval("SELECT count(*) FROM product.orders") == 0


def test_a_child_that_cannot_start_ends_the_start_with_its_own_words(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with stack(state, "issuer-eu") as first:
        first.end()
        first.paths.keyring("issuer-eu").write_text("{")
        with Run(state, "issuer-eu", "valkey-eu") as second:
            second.start()
            assert second.running.wait(30) == 1
            words = second.words()
            assert "issuer-eu" in words
            assert "is damaged" in words
            assert second.running_children() == []
