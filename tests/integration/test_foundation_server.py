"""A process: its port, its drain, its end when a worker dies."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from foundation.http import client
from foundation.server import bind
from foundation.settings import SettingsError
from tests.stands.servers import free_port, listens
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

PROGRAM = """
    import asyncio, sys
    from pathlib import Path
    from starlette.responses import Response
    from starlette.routing import Route
    from foundation.http import application
    from foundation.server import Drain, run, serve

    folder, port, mode = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

    async def slow(request):
        (folder / "begun").touch()
        while not (folder / "go").exists():
            await asyncio.sleep(0.02)
        return Response("done")

    async def worker():
        while not (folder / "die").exists():
            await asyncio.sleep(0.02)
        if mode == "raises":
            raise ValueError("anna@example.de")

    async def main():
        drain = Drain()
        app = application([Route("/slow", slow)], ready=drain.problem)
        await serve(app, host="127.0.0.1", port=port, workers={"pump": worker}, drain=drain, drain_s=0.3)

    sys.exit(run("test", main()))
"""


class Process:
    def __init__(self, folder: Path, port: int, child: "subprocess.Popen[bytes]") -> None:
        self.folder = folder
        self.port = port
        self.child = child
        self.url = f"http://127.0.0.1:{port}"

    async def ends(self) -> int:
        return await asyncio.to_thread(self.child.wait, 15)

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines() if line.startswith("{")]


@contextmanager
def process(folder: Path, mode: str = "raises", port: int | None = None) -> Iterator[Process]:
    program = folder / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    chosen = port or free_port()
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen([sys.executable, str(program), str(folder), str(chosen), mode], stderr=log)
    try:
        yield Process(folder, chosen, child)
    finally:
        child.kill()
        child.wait()


async def test_sigterm_says_not_ready_then_closes_the_door_and_lets_the_rest_finish(tmp_path: Path) -> None:
    with process(tmp_path) as running:
        await eventually(lambda: listens(running.port))
        async with client(running.url, total_s=15) as http, client(running.url) as other, asyncio.TaskGroup() as group:
            in_flight = group.create_task(http.get("/slow"))
            await eventually((tmp_path / "begun").exists)
            running.child.send_signal(signal.SIGTERM)
            seen: set[tuple[int, str | None]] = set()

            async def door_is_shut() -> bool:
                try:
                    response = await other.get("/readyz")
                except httpx.HTTPError:
                    return True
                seen.add((response.status_code, response.headers.get("connection")))
                return False

            await eventually(door_is_shut)
            (tmp_path / "go").touch()
            assert (await in_flight).text == "done"
        assert (
            503,
            "close",
        ) in seen  # who is leaving ends its connections with an answer, before any is closed without one
        assert await running.ends() == 0
        assert [line["event"] for line in running.events()] == ["serving", "served"]


@pytest.mark.parametrize("mode", ["raises", "returns"])
async def test_a_dead_worker_ends_the_process_without_quoting_data(tmp_path: Path, mode: str) -> None:
    with process(tmp_path, mode) as running:
        await eventually(lambda: listens(running.port))
        (tmp_path / "die").touch()
        assert await running.ends() == 1
        assert not listens(running.port)
        lines = running.events()
        assert {"worker_died", "process_died"} <= {line["event"] for line in lines}
        assert "anna" not in (tmp_path / "log").read_text()


async def test_a_taken_port_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with process(tmp_path, port=port) as running:
            assert await running.ends() == 2
    said = (tmp_path / "log").read_text().splitlines()
    assert said == [f"test: port {port} on 127.0.0.1 is taken by another process; stop it or choose another port"]


@pytest.mark.parametrize(
    ("host", "port"), [("192.0.2.1", 0), ("127.0.0.1", 70000), ("no.such.host.invalid", 0), ("::1%none", 0)]
)
def test_an_address_that_is_not_ours_is_said(host: str, port: int) -> None:
    with pytest.raises(SettingsError, match="cannot listen on"):
        bind(host, port)
