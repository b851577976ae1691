"""Processes that share a port: started, watched, brought back, renewed, ended."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from foundation.http import HttpClient
from tests.stands.crew import Load, Running, crew
from tests.stands.servers import listens
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio
CLIENTS = 6


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


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def test_all_of_a_crew_serve_the_port_that_was_chosen_once(tmp_path: Path) -> None:
    async with crew(tmp_path, 3) as running:
        await running.serving(3)
        pids, seen = set(await running.pids()), set[int]()

        async def all_seen() -> bool:
            seen.add(await answering(running))
            return seen == pids

        await eventually(all_seen, s_max=30)


async def test_the_others_serve_while_one_that_was_killed_comes_back(tmp_path: Path) -> None:
    async with crew(tmp_path, 3) as running:
        await running.serving(3)
        async with loaded(running) as load:
            await load.more()
            before = await running.pids()
            (tmp_path / "unready").touch()  # whoever comes now does not listen yet
            os.kill(before[1], signal.SIGKILL)
            await running.serving(2)
            load.lost.clear()
            await load.more(200)
            assert load.lost == []
            (tmp_path / "unready").unlink()
            await running.serving(3)
            await load.more(200)
            assert load.lost == []
        after = await running.workers()
        assert [each["restarts"] for each in after] == [0, 1, 0]
        assert [each["pid"] for each in after][::2] == before[::2]
        assert after[1]["pid"] != before[1]
    assert [line["status"] for line in running.events() if line["event"] == "worker_lost"] == [-9]


async def test_no_request_is_lost_while_a_crew_is_renewed_one_by_one(tmp_path: Path) -> None:
    """Writes, each sent once, on kept connections and on new ones; one of them under way all the time."""
    async with crew(tmp_path, 2) as running, HttpClient(trust_env=False, timeout=30) as http:
        await running.serving(2)
        async with loaded(running) as load, asyncio.TaskGroup() as group:
            slow = group.create_task(http.get(f"{running.url}/slow"))
            await eventually((tmp_path / "begun").exists)
            for turn in range(2):
                await load.more()
                before = set(await running.pids())
                running.child.send_signal(signal.SIGHUP)
                if not turn:
                    await eventually(lambda: sum(line["event"] == "worker_started" for line in running.events()) > 2)
                    (tmp_path / "go").touch()

                async def renewed() -> bool:
                    return before.isdisjoint(await running.pids())  # noqa: B023 - called before the next turn

                await eventually(renewed, s_max=30)
                await eventually(lambda: sum(line["event"] == "crew_renewed" for line in running.events()) > turn)  # noqa: B023
                assert not any(map(alive, before))
                await load.more()
        assert load.lost == []
        assert slow.result().status_code == 200
        assert not any(line["event"] == "worker_lost" for line in running.events())


async def test_what_cannot_succeed_leaves_those_before_in_service(tmp_path: Path) -> None:
    async with crew(tmp_path, 2) as running:
        await running.serving(2)
        before = await running.pids()
        (tmp_path / "broken").touch()
        async with loaded(running) as load:
            await load.more()
            running.child.send_signal(signal.SIGHUP)
            await eventually(lambda: any(line["event"] == "crew_not_renewed" for line in running.events()))
            await load.more()
        assert (await running.pids(), load.lost) == (before, [])


async def test_settings_that_do_not_hold_are_said_once_and_end_it(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    async with crew(tmp_path, 3, told=False) as running:
        assert await running.ends() == 2
    assert [line for line in running.log.read_text().splitlines() if not line.startswith("{")] == ["test: told so"]


async def test_a_port_that_somebody_has_is_not_shared_with_them(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        async with crew(tmp_path, 2, port=port, told=False) as running:
            assert await running.ends() == 2
    assert f"port {port} on 127.0.0.1 is taken" in running.log.read_text()


async def test_a_crew_that_is_told_to_leave_finishes_what_is_under_way(tmp_path: Path) -> None:
    async with crew(tmp_path, 2) as running, HttpClient(trust_env=False, timeout=30) as http:
        await running.serving(2)
        pids = await running.pids()
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(http.get(f"{running.url}/slow"))
            await eventually((tmp_path / "begun").exists)
            running.child.send_signal(signal.SIGTERM)
            port = int(running.url.rpartition(":")[2])
            await eventually(lambda: not listens(port))
            (tmp_path / "go").touch()
        assert slow.result().status_code == 200
        assert await running.ends() == 0
        assert not any(map(alive, pids))
        assert not any(line["event"] == "worker_lost" for line in running.events())


async def test_nobody_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    async with crew(tmp_path, 2) as running:
        await running.serving(2)
        port = int(running.url.rpartition(":")[2])
        running.child.kill()
        await eventually(lambda: not listens(port), s_max=20)


async def test_one_address_tells_of_all_of_them(tmp_path: Path) -> None:
    async with crew(tmp_path, 2) as running, HttpClient(base_url=running.admin, trust_env=False) as http:
        await running.serving(2)
        await answering(running)
        assert (await http.get("/readyz")).status_code == 200
        shown = (await http.get("/metrics")).text
        for worker in ("1", "2"):
            assert f'domicile_ready{{worker="{worker}"}}' in shown
        assert "domicile_workers_serving 2.0" in shown
        (tmp_path / "unready").touch()
        refused = await http.get("/readyz")
        assert (refused.status_code, refused.json()["detail"]) == (503, "worker 1: told so")


async def test_where_nobody_is_ready_the_port_says_so_itself_after_a_while(tmp_path: Path) -> None:
    (tmp_path / "unready").touch()
    async with crew(tmp_path, 2) as running, HttpClient(base_url=running.url, trust_env=False) as http:

        async def said() -> bool:
            with contextlib.suppress(httpx.ConnectError):
                return (await http.get("/readyz")).status_code == 503
            return False

        with anyio.fail_after(30):
            await eventually(said, s_max=30)
