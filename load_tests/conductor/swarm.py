"""Locust as a child process: one, or a master with workers, with its own pages where somebody wants to look."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from foundation.settings import SettingsError
from load_tests import plan

LOCUSTFILE = Path(__file__).parent.parent / "swarm" / "locustfile.py"
STOP_S = 25
"""How long users may finish what they do when the time is over: a little more than the longest answer."""
_EVERYWHERE = ("0.0.0.0", "*")
END_S_MAX = STOP_S + 30.0


def command(*, workers: int, web_port: int | None, listen: tuple[str, int] | None = None) -> list[str]:
    """Locust's command line. `listen`: where workers of other machines may join."""
    words = _locust()
    if web_port is None:
        words += ["--headless", "--only-summary"]
    else:
        words += ["--autostart", "--autoquit", "3", "--web-host", "127.0.0.1", "--web-port", str(web_port)]
    if workers > 1 or listen is not None:
        host, number = listen or ("127.0.0.1", _free_port())
        words += ["--processes", str(workers), "--master-bind-host", host, "--master-bind-port", str(number)]
        words += ["--master-host", "127.0.0.1" if host in _EVERYWHERE else host, "--master-port", str(number)]
    return words


def joining(host: str, port: int, *, workers: int) -> list[str]:
    """The command line of workers that join a run of another machine."""
    joined = ["--worker", "--master-host", host, "--master-port", str(port)]
    return [*_locust(), *joined, *(["--processes", str(workers)] if workers > 1 else [])]


def _locust() -> list[str]:
    words = [sys.executable, "-P", "-m", "locust", "-f", str(LOCUSTFILE), "--stop-timeout", str(STOP_S)]
    return [*words, "--exit-code-on-error", "0", "--loglevel", "WARNING", "--skip-log-setup"]


def address(text: str) -> tuple[str, int]:
    """`HOST:PORT`. Raises SettingsError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise SettingsError(f"{text!r} is no HOST:PORT")
    return host, int(port)


def _free_port() -> int:
    """One that nobody has just now, for locust's own traffic between its processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def open_loop() -> list[str]:
    """The open-loop driver's command line."""
    return [sys.executable, "-P", "-m", "load_tests.openloop"]


@asynccontextmanager
async def running(words: list[str], plan_file: Path, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Locust while the block runs; it is ended with it, workers included."""
    environment = {**os.environ, plan.ENVIRONMENT: str(plan_file)}
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """With all of its group: workers may be left of one that was killed."""
    for number in (15, 9):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        if process.returncode is not None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await process.wait()
