"""The SQL door of a cell: who comes in, under which grant, to which shard; how many at once; and cancels."""

import asyncio
import secrets
import socket
import ssl
from contextlib import AsyncExitStack

from cells.breakglass.door import endings, frames, greeting, startup, upstream
from cells.breakglass.door.admission import Admission
from cells.breakglass.door.budgets import Budgets
from cells.breakglass.door.frames import Error, Malformed, violation
from cells.breakglass.door.metrics import REFUSED
from cells.breakglass.door.ports import Ending, NotRun, Record, Session, Wall, backend_of
from cells.breakglass.door.relay import CLOSE_S_MAX, Relay
from cells.breakglass.door.settings import DoorSettings
from cells.breakglass.door.startup import CancelRequest, Startup
from cells.breakglass.door.upstream import Upstream, UpstreamRefused
from cells.breakglass.door.wire import Wire, WireClosed
from foundation import logs
from foundation.clock import Clock
from foundation.server import bind
from foundation.tls import Watched

log = logs.get(__name__)

BEGINNING_MAX = 64
"""Connections that are not sessions yet."""
_ACCEPT_PAUSE_S = 0.1
_LEFT = (WireClosed, OSError, ssl.SSLError)
"""What the other side's going away, or its failing at TLS, shows itself as."""


class Door:
    """One cell's. `port` once it listens."""

    def __init__(
        self,
        *,
        settings: DoorSettings,
        admission: Admission,
        wall: Wall,
        record: Record,
        tls: Watched,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._wall = wall
        self._record = record
        self._tls = tls
        self._clock = clock
        self._beginning = 0
        self._cancels: dict[tuple[int, bytes], Upstream] = {}
        self._budgets = Budgets(settings)
        self.listens = asyncio.Event()
        self.port = 0

    async def run(self) -> None:
        """For ever. Raises SettingsError where the address cannot be had."""
        listener = bind(self._settings.host, self._settings.port)
        self.port = listener.getsockname()[1]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tls.watch())
                self.listens.set()
                log.info("door_open", port=self.port)
                while True:
                    plain = await _accepted(listener)
                    if plain is None:
                        continue
                    if self._beginning >= BEGINNING_MAX:
                        plain.close()
                    else:
                        group.create_task(self._met(plain))
        finally:
            listener.close()

    async def _met(self, plain: socket.socket) -> None:
        """One connection. Never raises but for the end of the door."""
        self._beginning += 1
        wire: Wire | None = None
        begun = False
        try:
            async with asyncio.timeout(self._settings.startup_s) as bound:
                met = await greeting.met(plain, self._tls.newest())
                if isinstance(met, CancelRequest):
                    await self._cancel(met)
                    return
                wire = met
                asked = await greeting.asked(wire)
                if isinstance(asked, CancelRequest):
                    await self._cancel(asked)
                    return
                if not isinstance(asked, Startup):
                    raise violation("TLS is asked for once")
                async with AsyncExitStack() as stack:
                    relay = await self._opened(wire, asked, stack)
                    bound.reschedule(None)
                    self._beginning -= 1
                    begun = True
                    await relay.run()
        except (Malformed, UpstreamRefused) as exc:
            await _refuse(plain, wire, exc.error)
        except NotRun as exc:
            await _refuse(plain, wire, endings.TOLD[exc.ending])
        except TimeoutError:
            await _refuse(plain, wire, endings.LATE)
        except _LEFT as exc:
            log.info("door_left", error=type(exc).__name__)
        except Exception as exc:  # noqa: BLE001 - one connection's fault ends that connection
            log.fault("door_connection_failed", exc)
            await _refuse(plain, wire, endings.BROKEN)
        finally:
            self._beginning -= not begun
            await _closed(plain, wire)

    async def _opened(self, wire: Wire, asked: Startup, stack: AsyncExitStack) -> Relay:
        """A session that may begin; `stack` takes everything back. Raises Malformed, UpstreamRefused, NotRun."""
        session = await self._admission.admitted(greeting.certificate(wire))
        if asked.database not in ("", session.shard):
            hint = f"connect to the database {session.shard}"
            raise Malformed(Error("3D000", f"this certificate opens shard {session.shard} alone", hint))
        spent = await self._record.spent(session.grant)
        budget, left = self._budgets.enter(session, spent, self._clock.unix_s())
        stack.callback(left)
        dsn = await self._wall.credentials(session.shard, inside=session.inside)
        shard = await upstream.opened(dsn, asked.settings, f"domicile-door {session.id}")
        stack.callback(shard.wire.transport.abort)
        stack.push_async_callback(self._wall.leave, session.id)
        started = await self._wall.admit(session, shard.pid)
        relay = Relay(
            session=session,
            client=wire,
            upstream=shard,
            wall=self._wall,
            record=self._record,
            budget=budget,
            message_bytes_max=self._settings.message_bytes_max,
            nobody=f"domicile-{secrets.token_hex(16)}",
        )
        await self._record.opened(session, backend_of(started, shard.pid), relay.ending)
        stack.push_async_callback(self._close, session, relay)
        late = asyncio.get_running_loop().call_later(
            max(0.0, session.expires_at - self._clock.unix_s()), relay.ending, Ending.EXPIRED
        )
        stack.callback(late.cancel)
        pid, key = self._named(shard, stack)
        wire.send(startup.welcome(asked, pid, key, shard.settings))
        log.info("door_session", shard=session.shard)
        return relay

    async def _close(self, session: Session, relay: Relay) -> None:
        await self._wall.leave(session.id)  # at once: a disk that stalls keeps nobody's rows in sight
        await self._record.closed(session.id, relay.why)
        log.info("door_session_ended", shard=session.shard, reason=relay.why)

    # --- cancels -------------------------------------------------------------------------------------------------------------

    def _named(self, shard: Upstream, stack: AsyncExitStack) -> tuple[int, bytes]:
        """A process and key by which the client cancels; those of the shard stay here."""
        name = 1 + secrets.randbelow(0x7FFFFFFF), secrets.token_bytes(startup.KEY_BYTES)
        self._cancels[name] = shard
        stack.callback(self._cancels.pop, name, None)
        return name

    async def _cancel(self, asked: CancelRequest) -> None:
        """As with Postgres, there is no answer but the end of the connection."""
        shard = self._cancels.get((asked.pid, asked.key))
        if shard is not None:
            await shard.cancel()


async def _accepted(listener: socket.socket) -> socket.socket | None:
    """The next connection; None where none could be had, for want of descriptors for instance."""
    try:
        plain, _ = await asyncio.get_running_loop().sock_accept(listener)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as exc:
        log.fault("door_accept_failed", exc)
        await asyncio.sleep(_ACCEPT_PAUSE_S)
        return None
    return plain


async def _refuse(plain: socket.socket, wire: Wire | None, why: Error) -> None:
    """Says why, in the clear where TLS has not begun."""
    REFUSED.labels(why.code).inc()
    log.info("door_refused", code=why.code)
    said = frames.error("FATAL", why)
    if wire is not None:
        wire.send(said)
        return
    try:
        async with asyncio.timeout(CLOSE_S_MAX):
            await asyncio.get_running_loop().sock_sendall(plain, said)
            plain.shutdown(socket.SHUT_WR)
    except (OSError, ValueError, TimeoutError):
        return


async def _closed(plain: socket.socket, wire: Wire | None) -> None:
    if wire is None:
        plain.close()
    else:
        await wire.close(CLOSE_S_MAX)
