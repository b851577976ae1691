"""Runs a process: binds its address, serves the application, owns its workers, drains on SIGTERM or SIGINT."""

import asyncio
import errno
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import uvicorn
import uvloop
from starlette.types import ASGIApp

from foundation import logs
from foundation.compiled import compiled
from foundation.problems import Code, Problem
from foundation.settings import SettingsError
from foundation.tasks import Worker, first_of, run_together
from foundation.tls import Credentials
from foundation.wire.connection import ServerConnection
from foundation.wire.door import Door
from foundation.wire.serving import State, clients_max

log = logs.get(__name__)

BACKLOG = 1024
DRAIN_S_MAX = 10
TLS_BOUNDS = {"ssl_handshake_timeout": 10.0, "ssl_shutdown_timeout": 2.0}
"""Seconds. The second: how long a connection that was closed here waits for the client's own end; what still comes is dropped, so that no
reset takes the answer from it (RFC 9112 section 9.6)."""


RELIEVED_LOOK_S = 0.05
RELIEVED_S_MAX = 80.0
"""How long a process that was relieved keeps connections that ask for nothing: a little longer than any may be idle."""


class Shared(Protocol):
    """A port that other processes listen on as well (`foundation.crew`)."""

    listener: socket.socket
    """Bound, and not listening yet."""
    relieved: asyncio.Event
    """Set once a successor listens on the same socket."""

    async def may_listen(self) -> None:
        """Returns when it is time to."""
        ...

    def listens(self) -> None:
        """Is told that it does."""
        ...

    async def may_leave(self) -> None:
        """Returns when it is time to, for whoever was told to leave."""
        ...


class Drain:
    """Whether the process has begun to leave: readiness says so first, then the listener closes."""

    def __init__(self) -> None:
        self.begun = False

    def problem(self) -> Problem | None:
        return Problem(code=Code.NOT_READY, detail="draining", retry_after_s=1) if self.begun else None


class Server(uvicorn.Server):
    """uvicorn without its signal handling: the process's root decides when to stop. `tls`: what connections are met with. `shared`: the
    port is others' as well."""

    def __init__(self, config: uvicorn.Config, tls: Credentials | None = None, shared: Shared | None = None) -> None:
        super().__init__(config)
        self._shared = shared
        self.server_state: State = State()
        self._tls: dict[str, Any] = {} if tls is None else {"ssl": tls.context, **TLS_BOUNDS}

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's for sockets that are bound already, with bounds of our own on what TLS waits for."""
        config, loop = self.config, asyncio.get_running_loop()
        protocol: Callable[..., asyncio.Protocol] = config.http_protocol_class
        make = partial(protocol, config, self.server_state, {})
        self.servers = [
            await loop.create_server(make, sock=bound, backlog=config.backlog, **self._tls) for bound in sockets or []
        ]
        self.started = True
        if self._shared is not None:
            self._shared.listens()

    def leaves(self) -> None:
        """From now on each answer that begins ends its connection."""
        self.server_state.leaving = True
        for each in tuple(self.server_state.connections):
            if isinstance(each, ServerConnection):
                each.leaves()

    async def relieved(self) -> None:
        """Takes no new connection; returns once all that there are have ended, or at RELIEVED_S_MAX. The socket is others' too: nothing
        that waits on it is lost."""
        for server in self.servers:
            server.close()
        self.leaves()
        loop = asyncio.get_running_loop()
        until = loop.time() + RELIEVED_S_MAX
        while self.server_state.connections and loop.time() < until:  # noqa: ASYNC110 - as uvicorn waits for them
            await asyncio.sleep(RELIEVED_LOOK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.leaves()  # also of a connection that is being accepted, or shakes hands, while the others are told
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SettingsError."""
    listener = bound(host, port)
    listener.listen(BACKLOG)
    return listener


def bound(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket that does not listen yet. `shared`: others may be bound to the same port, each with connections of its own; who does not
    listen is given none. Raises SettingsError that says what to do when the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
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
    tls: Credentials | None = None,
    stop: asyncio.Event | None = None,
    shared: Shared | None = None,
) -> None:
    """Serves until `stop`, or without one until SIGTERM or SIGINT; then not ready for `drain_s`, each answer ending its connection, then no
    new connections, then at most DRAIN_S_MAX for the rest.

    Raises an exception group with WorkerDied when a worker ends first: the server ends with it.
    """
    listener = bind(host, port) if shared is None else shared.listener
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
        backlog=BACKLOG,
    )
    server = Server(config, tls, shared)
    server.server_state.connections_max = clients_max()
    told = stop or signalled(signal.SIGTERM, signal.SIGINT)

    async def leave() -> None:
        await told.wait()
        if shared is not None:
            await shared.may_leave()
        if drain is not None:
            drain.begun = True
            server.leaves()
            await asyncio.sleep(drain_s)
        server.should_exit = True
        await asyncio.Event().wait()

    async def relieved() -> None:
        if shared is not None:
            await shared.relieved.wait()
            await server.relieved()
            server.should_exit = True
        await asyncio.Event().wait()

    async def until() -> None:
        if shared is not None:
            await first_of(shared.may_listen(), told.wait())
            if told.is_set():
                return
        log.info("serving", address=host, port=listener.getsockname()[1], compiled=len(compiled()))
        await server.serve(sockets=[listener])
        log.info("served")

    try:
        watched = {} if tls is None else {"tls files": tls.watch}
        await run_together({**(workers or {}), **watched, "signals": leave, "relief": relieved}, until)
    finally:
        listener.close()


def signalled(*numbers: signal.Signals) -> asyncio.Event:
    """Set by any of these signals."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in numbers:
        loop.add_signal_handler(number, told.set)
    return told


def run(process: str, main: Coroutine[Any, Any, int | None]) -> int:
    """Runs a process's main coroutine on uvloop and returns its exit status, which `main` may state; a setting that does not hold is said
    in one line.

    `process` names it in logs until `main` has read whose gateway or cell service it is (`logs.configure`).
    """
    logs.configure(process)
    try:
        status = uvloop.run(main)
    except SettingsError as exc:
        sys.stderr.write(f"{process}: {exc}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    except BaseException as exc:  # noqa: BLE001 - the last line before the exit status
        log.fault("process_died", exc, reason=_reasons(exc))
        return 1
    return status or 0


def _reasons(exc: BaseException) -> str:
    """Types of the exceptions inside a group, without their texts."""
    if isinstance(exc, BaseExceptionGroup):
        return ", ".join(_reasons(inner) for inner in exc.exceptions)
    return type(exc).__name__
