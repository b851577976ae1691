"""A crew for tests: a small program whose processes share a port, told what to do by files of a folder."""

import asyncio
import json
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from foundation.http import HttpClient
from tests.stands.waiting import eventually

PROGRAM = """
    import asyncio, os, signal, sys
    from pathlib import Path
    from starlette.responses import Response
    from starlette.routing import Route
    from foundation import server
    server.DRAIN_S_MAX = 60
    from foundation.crew import crew as crews, seat
    from foundation.crew.admin import lead
    from foundation.crew.crew import Crew
    from foundation.http import application
    from foundation.problems import Code, Problem
    from foundation.server import run, serve, signalled
    from foundation.settings import SettingsError

    folder, port, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    crews.ALONE_S, crews.LOOK_S = 0.3, 0.05
    started = crews.started

    async def started_if_there_is_room(*arguments):
        if (folder / "no room").exists():
            raise BlockingIOError("no process can be started")
        return await started(*arguments)

    crews.started = started_if_there_is_room

    def ready():
        return Problem(code=Code.NOT_READY, detail="told so") if (folder / "unready").exists() else None

    async def pid(request):
        await request.body()
        return Response(str(os.getpid()))

    async def slow(request):
        (folder / "begun").write_text(str(os.getpid()))
        while not (folder / "go").exists():
            await asyncio.sleep(0.02)
        return Response(str(os.getpid()))

    async def main(place):
        if (folder / "broken").exists():
            raise SettingsError("told so")
        stop = signalled(signal.SIGTERM, signal.SIGINT)
        ours = await seat.taken(place, stop, ready)
        app = application([Route("/pid", pid, methods=["GET", "POST"]), Route("/slow", slow)], ready=ready)
        await serve(app, host="127.0.0.1", port=port, workers={"crew": ours.heed}, stop=stop, shared=ours)

    async def led():
        crew = Crew((sys.executable, *sys.argv), host="127.0.0.1", port=port, count=count, drain_s=0.0)
        return await lead(crew, host="127.0.0.1", port=0)

    sys.exit(run("test", led() if "--seat" not in sys.argv else main(sys.argv[-1])))
"""


PACE_S = 0.005
"""Between an answer and a client's next request: processes that start need the machine as well."""


class Running:
    """A crew's parent, `port` and `admin` of which are known once `opened`."""

    def __init__(self, child: "subprocess.Popen[bytes]", log: Path) -> None:
        self.child = child
        self.log = log
        self.url = ""
        self.admin = ""

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def count(self, event: str) -> int:
        return sum(line["event"] == event for line in self.events())

    def _told(self) -> bool:
        """Addresses stand in the parent's log."""
        for line in self.events():
            if line["event"] == "crew_serving":
                self.url = f"http://127.0.0.1:{line['port']}"
            elif line["event"] == "serving" and not self.admin:
                self.admin = f"http://127.0.0.1:{line['port']}"
        return self.url != "" != self.admin

    async def told(self) -> None:
        await eventually(self._told, s_max=30)

    async def workers(self) -> list[dict[str, Any]]:
        async with HttpClient(trust_env=False) as http:
            found: list[dict[str, Any]] = (await http.get(f"{self.admin}/workers")).json()["workers"]
        return found

    async def pids(self) -> list[int]:
        return [each["pid"] for each in await self.workers()]

    async def serving(self, count: int) -> None:
        async def all_serve() -> bool:
            return len([each for each in await self.workers() if each["serving"]]) == count

        await eventually(all_serve, s_max=30)

    async def ends(self) -> int:
        return await asyncio.to_thread(self.child.wait, 30)


@asynccontextmanager
async def crew(folder: Path, count: int = 2, *, port: int = 0, told: bool = True) -> AsyncIterator[Running]:
    program = folder / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    async with led(
        [sys.executable, str(program), str(folder), str(port), str(count)], folder / "log", told=told
    ) as one:
        yield one


@asynccontextmanager
async def led(
    command: list[str], log: Path, *, told: bool = True, env: dict[str, str] | None = None
) -> AsyncIterator[Running]:
    """Whatever leads a crew. It is killed at the end, and its processes end with it."""
    child = _begun(command, log, env)
    try:
        running = Running(child, log)
        if told:
            await running.told()
        yield running
    finally:
        child.kill()
        child.wait()


def _begun(command: list[str], log: Path, env: dict[str, str] | None) -> "subprocess.Popen[bytes]":
    with log.open("wb") as lines:
        return subprocess.Popen(command, stderr=lines, env=env)


class Load:
    """Clients that write until they are told to stop, each on a connection that is kept or on a new one each time. Each request is sent
    once, and what is not answered is `lost`."""

    def __init__(self, url: str, *, headers: dict[str, str] | None = None) -> None:
        self._url = url
        self._headers = headers or {}
        self._over = False
        self.answered = 0
        self.lost: list[BaseException | int] = []

    async def ask(self, number: int) -> None:
        headers = self._headers | ({"connection": "close"} if number % 2 else {})
        async with HttpClient(timeout=20, trust_env=False) as http:
            while not self._over:
                await asyncio.sleep(PACE_S)
                try:
                    response = await http.post(self._url, headers=headers, content=b"x")
                except httpx.HTTPError as exc:
                    self.lost.append(exc)
                else:
                    self.answered += response.status_code == 200
                    if response.status_code != 200:
                        self.lost.append(response.status_code)

    async def more(self, count: int = 50) -> None:
        goal = self.answered + count
        await eventually(lambda: self.answered >= goal, s_max=60)

    def end(self) -> None:
        self._over = True
