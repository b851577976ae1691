"""Runs a process: binds its address, serves the application, owns its workers, drains on SIGTERM or SIGINT."""

import asyncio
import errno
import signal
import socket
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
import uvloop
from starlette.types import ASGIApp

from foundation import logs
from foundation.problems import Code, Problem
from foundation.settings import SettingsError
from foundation.tasks import Worker, run_together
from foundation.wire.door import Door

log = logs.get(__name__)

DRAIN_S_MAX = 10


class Drain:
    """Whether the process has begun to leave: readiness says so first, then the listener closes."""

    def __init__(self) -> None:
        self.begun = False

    def problem(self) -> Problem | None:
        return Problem(code=Code.NOT_READY, detail="draining", retry_after_s=1) if self.begun else None


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: the process's root decides when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SettingsError that says what to do when the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as exc:
        listener.close()
        if exc.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"port {port} on {host} is taken by another process; stop it or choose another port"
            ) from exc
        raise SettingsError(f"cannot listen on {host}:{port}: {exc.strerror}") from exc
    except OverflowError as exc:
        listener.close()
        raise SettingsError(f"cannot listen on {host}:{port}: a port is a number from 0 to 65535") from exc
    listener.listen(1024)
    listener.setblocking(False)
    return listener


async def serve(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    workers: dict[str, Worker] | None = None,
    drain: Drain | None = None,
    drain_s: float = 0.0,
    http: type[asyncio.Protocol] = Door,
) -> None:
    """Serves until SIGTERM or SIGINT; then not ready for `drain_s`, then no new connections, then at most DRAIN_S_MAX for the rest.

    Raises an exception group with WorkerDied when a worker ends first: the server ends with it.
    """
    listener = bind(host, port)
    config = uvicorn.Config(
        app,
        http=http,
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        access_log=False,
        # uvicorn would take X-Forwarded-For from any peer on loopback; only the gateway's own settings say whom to believe
        proxy_headers=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=DRAIN_S_MAX,
        timeout_keep_alive=75,
        backlog=1024,
    )
    server = _Server(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    async def leave() -> None:
        await stop.wait()
        if drain is not None:
            drain.begun = True
            await asyncio.sleep(drain_s)
        server.should_exit = True
        await asyncio.Event().wait()

    async def until() -> None:
        log.info("serving", address=host, port=listener.getsockname()[1])
        await server.serve(sockets=[listener])
        log.info("served")

    try:
        await run_together({**(workers or {}), "signals": leave}, until)
    finally:
        listener.close()


def run(process: str, main: Coroutine[Any, Any, None]) -> int:
    """Runs a process's main coroutine on uvloop and returns its exit status; a setting that does not hold is said in one line.

    `process` names it in logs until `main` has read whose gateway or cell service it is (`logs.configure`).
    """
    logs.configure(process)
    try:
        uvloop.run(main)
    except SettingsError as exc:
        sys.stderr.write(f"{process}: {exc}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    except BaseException as exc:  # noqa: BLE001 - the last line before the exit status
        log.fault("process_died", exc, reason=_reasons(exc))
        return 1
    return 0


def _reasons(exc: BaseException) -> str:
    """Types of the exceptions inside a group, without their texts."""
    if isinstance(exc, BaseExceptionGroup):
        return ", ".join(_reasons(inner) for inner in exc.exceptions)
    return type(exc).__name__
