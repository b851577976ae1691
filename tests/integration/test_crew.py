"""Processes that share a port: started, watched, brought back, renewed, ended."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from foundation.http import HttpClient
from tests.stands.crew import Load, Running, crew
from tests.stands.servers import listens
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio
CLIENTS = 4


@asynccontextmanager
async def loaded(running: Running) -> AsyncIterator[Load]:
    load = Load(f"{running.url}/pid")
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(load.ask(number))
        try:
            yield load
        finally:
            load.end()


async def answering(running: Running) -> int:
    """The process that a new connection reaches."""
    async with HttpClient(trust_env=False) as http:
        return int((await http.get(f"{running.url}/pid")).text)


async def slowly(running: Running) -> str:
    async with HttpClient(trust_env=False, timeout=60) as http:
        return (await http.get(f"{running.url}/slow")).text


def listening(running: Running) -> int:
    """How many sockets listen on the port."""
    end = f":{int(running.url.rpartition(':')[2]):04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[1].endswith(end) and line[3] == "0A" for line in lines)


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def test_those_of_a_crew_share_a_port_and_one_that_is_killed_comes_back_while_the_other_serves(
    tmp_path: Path,
) -> None:
    async with crew(tmp_path) as running:
        await running.serving(2)
        before, seen = await running.pids(), set[int]()

        async def all_seen() -> bool:
            seen.add(await answering(running))
            return seen == set(before)

        await eventually(all_seen, s_max=30)
        async with loaded(running) as load:
            await load.more()
            (tmp_path / "unready").touch()  # whoever comes now does not listen yet
            os.kill(before[1], signal.SIGKILL)
            await running.serving(1)
            load.lost.clear()  # what it had under way
            await load.more(100)
            (tmp_path / "unready").unlink()
            await running.serving(2)
            await load.more()
            assert load.lost == []
        first, second = await running.workers()
        assert (first["restarts"], first["pid"]) == (0, before[0])
        assert (second["restarts"], second["pid"] == before[1]) == (1, False)
    assert [line["status"] for line in running.events() if line["event"] == "worker_lost"] == [-9]


async def test_no_request_is_lost_while_a_crew_is_renewed_one_by_one_and_what_cannot_succeed_is_given_up(
    tmp_path: Path,
) -> None:
    """Writes, each sent once, on kept connections and on new ones; one request is under way when its process is relieved."""
    async with crew(tmp_path) as running:
        await running.serving(2)
        async with loaded(running) as load, asyncio.TaskGroup() as group:
            slow = group.create_task(slowly(running))
            await eventually((tmp_path / "begun").exists)
            await load.more()
            before = set(await running.pids())
            running.child.send_signal(signal.SIGHUP)

            async def relieved() -> bool:
                return int((tmp_path / "begun").read_text()) not in await running.pids()

            await eventually(relieved, s_max=60)
            (tmp_path / "go").touch()
            await eventually(lambda: running.count("crew_renewed") == 1, s_max=60)
            assert before.isdisjoint(await running.pids())
            assert not any(map(alive, before))
            await load.more()

            (tmp_path / "broken").touch()
            stays = await running.pids()
            running.child.send_signal(signal.SIGHUP)
            await eventually(lambda: running.count("crew_not_renewed") == 1, s_max=30)
            await load.more()
            assert await running.pids() == stays
            load.end()
        assert load.lost == []
        assert int(slow.result()) in before
        assert running.count("worker_lost") == 0


async def told_to_end_while_it_answers(running: Running, folder: Path, group: asyncio.TaskGroup) -> int:
    """One of the crew: it goes on for as long as the request that it has under way, until `go`."""
    group.create_task(slowly(running))
    await eventually((folder / "begun").exists)
    pid = int((folder / "begun").read_text())
    os.kill(pid, signal.SIGTERM)
    return pid


async def test_one_that_somebody_tells_to_end_is_succeeded_before_it_does_and_no_request_is_lost(
    tmp_path: Path,
) -> None:
    """While it finishes what it has under way nobody waits in its queue."""
    async with crew(tmp_path) as running:
        await running.serving(2)
        async with loaded(running) as load, asyncio.TaskGroup() as group:
            pid = await told_to_end_while_it_answers(running, tmp_path, group)

            async def succeeded() -> bool:
                return pid not in await running.pids()

            await eventually(succeeded, s_max=60)
            assert alive(pid)
            await load.more(100)
            (tmp_path / "go").touch()
            await eventually(lambda: not alive(pid), s_max=60)
            await load.more()
            load.end()
        assert load.lost == []
        assert sorted(each["restarts"] for each in await running.workers()) == [0, 1]
        assert (running.count("worker_leaves"), running.count("worker_lost")) == (1, 0)


async def test_one_that_somebody_tells_to_end_and_nobody_can_succeed_takes_its_socket_along(tmp_path: Path) -> None:
    async with crew(tmp_path) as running:
        await running.serving(2)
        async with loaded(running) as load, asyncio.TaskGroup() as group:
            (tmp_path / "broken").touch()
            pid = await told_to_end_while_it_answers(running, tmp_path, group)
            await eventually(lambda: running.count("worker_not_succeeded") == 1, s_max=60)
            await eventually(lambda: listening(running) == 1, s_max=60)
            await load.more()
            load.lost.clear()  # what was on its way when the socket closed
            await load.more(100)
            assert load.lost == []
            assert alive(pid)
            (tmp_path / "broken").unlink()
            (tmp_path / "go").touch()
            await running.serving(2)
            await load.more()
            load.end()
        assert (running.count("worker_leaves"), running.count("worker_lost")) == (1, 1)


@pytest.mark.parametrize("why", ["broken", "no room"])
async def test_the_only_one_that_serves_stays_until_another_can(tmp_path: Path, why: str) -> None:
    """Who would succeed it ends at once, or is no process at all."""
    async with crew(tmp_path, 1) as running:
        await running.serving(1)
        (pid,) = await running.pids()
        async with loaded(running) as load:
            (tmp_path / why).touch()
            os.kill(pid, signal.SIGTERM)
            await eventually(lambda: running.count("worker_not_succeeded") > 1, s_max=60)
            await load.more()
            assert await running.pids() == [pid]
            (tmp_path / why).unlink()

            async def succeeded() -> bool:
                return await running.pids() != [pid]

            await eventually(succeeded, s_max=60)
            await load.more()
            load.end()
        assert load.lost == []
        await eventually(lambda: not alive(pid), s_max=60)
    assert running.count("worker_lost") == 0


async def test_settings_that_do_not_hold_are_said_once_and_end_it(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    async with crew(tmp_path, told=False) as running:
        assert await running.ends() == 2
    assert [line for line in running.log.read_text().splitlines() if not line.startswith("{")] == ["test: told so"]


async def test_a_port_that_somebody_has_is_not_shared_with_them(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        async with crew(tmp_path, port=port, told=False) as running:
            assert await running.ends() == 2
    assert f"port {port} on 127.0.0.1 is taken" in running.log.read_text()


async def test_one_address_tells_of_all_and_a_crew_that_leaves_finishes_what_is_under_way(tmp_path: Path) -> None:
    async with (
        crew(tmp_path) as running,
        HttpClient(base_url=running.admin, trust_env=False) as admin,
    ):
        await running.serving(2)
        assert (await admin.get("/readyz")).status_code == 200
        shown = (await admin.get("/metrics")).text
        assert all(f'domicile_ready{{worker="{worker}"}} 1.0' in shown for worker in (1, 2))
        assert "domicile_workers_serving 2.0" in shown
        (tmp_path / "unready").touch()
        refused = await admin.get("/readyz")
        assert (refused.status_code, refused.json()["detail"]) == (503, "worker 1: told so")
        pids, port = await running.pids(), int(running.url.rpartition(":")[2])
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(slowly(running))
            await eventually((tmp_path / "begun").exists)
            running.child.send_signal(signal.SIGTERM)
            await eventually(lambda: not listens(port))
            (tmp_path / "go").touch()
        assert int(slow.result()) in pids
        assert await running.ends() == 0
        assert not any(map(alive, pids))
        assert running.count("worker_lost") == 0


async def test_where_nobody_is_ready_the_port_says_so_and_nobody_outlives_a_parent_that_was_killed(
    tmp_path: Path,
) -> None:
    (tmp_path / "unready").touch()
    async with crew(tmp_path) as running, HttpClient(base_url=running.url, trust_env=False) as http:

        async def said() -> bool:
            with contextlib.suppress(httpx.ConnectError):
                return (await http.get("/readyz")).status_code == 503
            return False

        await eventually(said, s_max=30)
        port = int(running.url.rpartition(":")[2])
        running.child.kill()
        await eventually(lambda: not listens(port), s_max=30)
