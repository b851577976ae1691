"""Keep-alive connections by address: bounded, fair to waiters, swept for overdue exchanges and idle connections.

Whether an address may be asked at all stands beside its connections (`AddressPool.health`).
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

from foundation import logs
from foundation.wire.outbox import Outbox
from gateway.edge.upstream.breaker import CLOSED
from gateway.edge.upstream.connection import Connection
from gateway.edge.upstream.fault import Fault, UpstreamFailed
from gateway.edge.upstream.health import Health
from gateway.edge.upstream.pouring import Basin
from gateway.settings import Upstream

log = logs.get(__name__)

SWEEP_S = 0.25
Tls = Callable[[], ssl.SSLContext]


class AddressPool:
    """The connections to one address."""

    def __init__(
        self,
        address: str,
        limits: Upstream,
        loop: asyncio.AbstractEventLoop,
        outbox: Outbox,
        basin: Basin,
        tls: Tls | None = None,
    ) -> None:
        self.address = address
        self.outbox = outbox
        self.basin = basin
        self.host_field = address.encode("ascii")
        self.behind_target = b" HTTP/1.1\r\nhost: %b\r\n" % self.host_field
        """What stands in a request for it between the target and the fields."""
        self.health = Health(address, limits, loop)
        self.breaker = self.health.breaker
        self._host, _, port = address.rpartition(":")
        self._host = self._host.strip("[]")
        self._port = int(port)
        self._limits = limits
        self._loop = loop
        self._tls = tls
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._reserved = 0
        """Slots of connections that are being made."""
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()

    @property
    def open(self) -> int:
        return len(self._open)

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    def acquire_now(self) -> Connection | None:
        """An idle connection, the one used last, or None."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            transport = connection.transport
            if transport is not None and not transport.is_closing():  # as `usable`, for each request
                return connection
        return None

    async def acquire(self, *, fresh: bool = False) -> Connection:
        """An idle connection (unless `fresh`), a new one, or the next that comes free. Raises UpstreamFailed (BUSY, CONNECT)."""
        connection = None if fresh else self.acquire_now()
        if connection is not None:
            return connection
        if len(self._open) + self._reserved < self._limits.connections_max:
            self._reserved += 1
            return await self._connect()
        if fresh and self._idle:
            self._idle.pop(0).close()
        return await self._queue(fresh=fresh)

    async def _queue(self, *, fresh: bool) -> Connection:
        if len(self._waiters) >= self._limits.waiters_max:
            raise UpstreamFailed(Fault.BUSY)
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._limits.wait_s):
                connection = await waiter
        except TimeoutError as exc:
            self._give_back(waiter)
            raise UpstreamFailed(Fault.BUSY) from exc
        except asyncio.CancelledError:
            self._give_back(waiter)
            raise
        if connection is not None and connection.usable and not fresh:
            return connection
        if connection is not None:
            connection.close()
            self._reserved += 1
        return await self._connect()

    def _give_back(self, waiter: asyncio.Future[Connection | None]) -> None:
        """A waiter that leaves hands on what it was just given."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        elif waiter.done() and not waiter.cancelled():
            connection = waiter.result()
            if connection is not None:
                self._offer(connection)
            else:
                self._reserved -= 1
                self._free_slot()

    async def _connect(self) -> Connection:
        """Makes a connection in the slot that the caller has reserved."""
        try:
            async with asyncio.timeout(self._limits.connect_s):
                _, made = await self._loop.create_connection(
                    lambda: Connection(self._limits, self._forget, self._loop),
                    self._host,
                    self._port,
                    ssl=self._tls and self._tls(),
                )
        except (OSError, TimeoutError) as exc:
            self._not_made()
            raise UpstreamFailed(Fault.CONNECT) from exc
        except BaseException:
            self._not_made()
            raise
        self._reserved -= 1
        self._open.add(made)
        return made

    def _not_made(self) -> None:
        self._reserved -= 1
        self._free_slot()

    def release(self, connection: Connection) -> None:
        """Takes a connection back after its exchange, whole or broken."""
        if connection.end():
            self._offer(connection)

    def landed(self, connection: Connection, now: float) -> None:
        """`Health.heard` and `release`, after an answer that came in one piece, and not through the connection's own reading
        (`Connection.landing`)."""
        breaker = self.breaker
        if breaker.state is CLOSED:
            breaker.failures = 0
        else:
            self.health.heard()
        connection.busy = False
        connection.listener = None
        connection.used = True
        connection.quiet_since = now
        transport = connection.transport
        if transport is None or transport.is_closing():
            connection.close()
        elif self._waiters:
            self._offer(connection)
        else:
            self._idle.append(connection)

    def let_go(self, connection: Connection) -> None:
        """It is another protocol's from here on, and takes no place here."""
        self._forget(connection)

    def _offer(self, connection: Connection) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self._idle.append(connection)

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._free_slot()

    def _free_slot(self) -> None:
        """Reserves a slot that came free for the first waiter, who then makes a connection of its own."""
        while self._waiters and len(self._open) + self._reserved < self._limits.connections_max:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._reserved += 1
                waiter.set_result(None)

    def sweep(self, now: float) -> None:
        """Fails overdue exchanges, closes connections idle too long."""
        for connection in tuple(self._open):
            if connection.busy and connection.overdue(now):
                connection.fail(connection.blame())
        for connection in tuple(self._idle):
            if now - connection.quiet_since > self._limits.keep_alive_s:
                self._idle.remove(connection)
                connection.close()

    def close(self) -> None:
        for connection in tuple(self._open):
            connection.close()


class Pools:
    """Pools by address; `sweep` is a worker of the process. With `tls` every connection speaks it, to whom the address names; each new
    one asks for the context."""

    def __init__(self, limits: Upstream, *, tls: Tls | None = None) -> None:
        self._limits = limits
        self._tls = tls
        self._pools: dict[str, AddressPool] = {}
        self._outbox: Outbox | None = None
        self._basin = Basin()

    def of(self, address: str) -> AddressPool:
        """Addresses come from policy, so there are few."""
        pool = self._pools.get(address)
        if pool is None:
            loop = asyncio.get_running_loop()
            self._outbox = self._outbox or Outbox(loop)
            pool = self._pools[address] = AddressPool(address, self._limits, loop, self._outbox, self._basin, self._tls)
        return pool

    async def sweep(self) -> None:
        """Holds the bounds on time; runs until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(SWEEP_S)
                for pool in self._pools.values():
                    pool.sweep(loop.time())
        finally:
            self.close()

    def all(self) -> tuple[AddressPool, ...]:
        return tuple(self._pools.values())

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
