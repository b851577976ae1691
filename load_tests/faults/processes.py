"""Processes of an embedded stack: stopped and started, killed, held still. Through its control channel and by the pids that it names."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from deploy.local import control
from deploy.local.layout import Paths, matching
from foundation.settings import SettingsError

BACK_S_MAX = 60.0
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
        _send(signal.SIGKILL, _trees(before.values()))
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
        held = _trees((await self.pids(pattern)).values())
        try:
            _send(signal.SIGSTOP, held)
            yield
        finally:
            _send(signal.SIGCONT, held)

    async def ready(self, s_max: float = BACK_S_MAX) -> None:
        """Until every process runs. Raises TimeoutError."""
        async with asyncio.timeout(s_max):
            while True:
                held = (await self.document())["processes"]
                if all(one["state"] == "running" for one in held.values()):
                    return
                await asyncio.sleep(_POLL_S)


def _trees(pids: Iterable[int]) -> list[psutil.Process]:
    """Parents first: whoever stands still starts nobody."""
    found: list[psutil.Process] = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(pid)
            found += [root, *root.children(recursive=True)]
    return found


def _send(number: signal.Signals, processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
