"""Processes of an embedded stack: stopped and started, killed, held still, slowed. By its control channel and the pids that it names."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from deploy.local import control
from deploy.local.layout import Paths, matching
from foundation.settings import SettingsError
from load_tests.faults import stutter
from load_tests.faults.stutter import send, trees

BACK_S_MAX = 60.0
LET_GO_S_MAX = 10.0
_POLL_S = 0.1


class Processes:
    """Those of the stack in `state`."""

    def __init__(self, state: Path) -> None:
        self._paths = Paths(state)

    async def document(self) -> dict[str, Any]:
        """Raises SettingsError."""
        found: dict[str, Any] = await asyncio.to_thread(control.ask, self._paths, "status")
        return found

    async def pids(self, pattern: str) -> dict[str, int]:
        """Raises SettingsError where nothing is called so."""
        try:
            names = matching(pattern)
        except ValueError as exc:
            raise SettingsError(str(exc)) from exc
        processes = (await self.document())["processes"]
        return {name: processes[name]["pid"] for name in names if processes.get(name, {}).get("pid")}

    @asynccontextmanager
    async def stopped(self, pattern: str) -> AsyncIterator[None]:
        await asyncio.to_thread(control.ask, self._paths, "stop", pattern)
        try:
            yield
        finally:
            await asyncio.to_thread(control.ask, self._paths, "start", pattern)

    @asynccontextmanager
    async def killed(self, pattern: str) -> AsyncIterator[None]:
        """With all that they started, as by a power cut. The supervisor starts them anew; leaving waits until they run."""
        before = await self.pids(pattern)
        send(signal.SIGKILL, trees(before.values()))
        try:
            yield
        finally:
            await self._back(before)

    async def _back(self, before: dict[str, int]) -> None:
        async with asyncio.timeout(BACK_S_MAX):
            while True:
                held = (await self.document())["processes"]
                if all(held[name]["state"] == "running" and held[name]["pid"] != pid for name, pid in before.items()):
                    return
                await asyncio.sleep(_POLL_S)

    @asynccontextmanager
    async def frozen(self, pattern: str) -> AsyncIterator[None]:
        """Held still (SIGSTOP) with all that they started, as a machine that is paused."""
        async with self.slowed(pattern, share=1.0, period_s=1.0):
            yield

    @asynccontextmanager
    async def slowed(self, pattern: str, *, share: float, period_s: float) -> AsyncIterator[None]:
        """Still for `share` of each `period_s`, with all that they started, as a machine that has too much to do. They go on at the end,
        or when this process dies. Raises SettingsError."""
        pids = list((await self.pids(pattern)).values())
        words = ("-P", "-m", stutter.__name__, str(share), str(period_s), *map(str, pids))
        holder = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        try:
            if holder.stdout is None or await holder.stdout.readline() != stutter.HELD:
                raise SettingsError(f"{pattern} cannot be held still")
            yield
        finally:
            await _let_go(holder, pids)

    async def ready(self, s_max: float = BACK_S_MAX) -> None:
        """Until every process runs. Raises TimeoutError."""
        async with asyncio.timeout(s_max):
            while True:
                held = (await self.document())["processes"]
                if all(one["state"] == "running" for one in held.values()):
                    return
                await asyncio.sleep(_POLL_S)


async def _let_go(holder: asyncio.subprocess.Process, pids: Iterable[int]) -> None:
    """The end of its input lets it go on and end, whatever becomes of this task meanwhile."""
    if holder.stdin is not None:
        holder.stdin.close()
    try:
        async with asyncio.timeout(LET_GO_S_MAX):
            await holder.communicate()
    except TimeoutError:
        holder.kill()
        await holder.communicate()
    finally:
        if holder.returncode != 0:
            send(signal.SIGCONT, trees(pids))
