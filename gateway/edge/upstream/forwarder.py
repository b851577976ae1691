"""Opens exchanges: renders the head of a request for a service and puts it on a connection to one of its addresses."""

import asyncio
from collections.abc import Callable, Sequence

from gateway.edge.upstream.connection import Connection, Fault, UpstreamFailed
from gateway.edge.upstream.pool import AddressPool, Pools

ADDRESSES_TRIED_MAX = 3
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""RFC 9110 section 9.2.2: these alone may be sent again when nobody knows whether they were acted on."""


class Exchange:
    """One request on one connection. Ended exactly once, whatever happened."""

    __slots__ = ("_pool", "connection")

    def __init__(self, pool: AddressPool, connection: Connection) -> None:
        self._pool = pool
        self.connection = connection

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """After a 101: the transport and what stood behind the head; the address has a slot free. Raises UpstreamFailed."""
        found = self.connection.detach()
        self._pool.let_go(self.connection)
        return found

    def end(self) -> None:
        self._pool.release(self.connection)


class Forwarder:
    """Takes addresses in turn; passes by one that refuses connections."""

    def __init__(self, pools: Pools) -> None:
        self.pools = pools
        self._turn = 0

    async def open(
        self,
        hosts: Sequence[str],
        line: bytes,
        rest: Callable[[], bytes],
        *,
        head_only: bool,
        done: bool,
        fresh: bool = False,
        upgrade: bool = False,
    ) -> Exchange:
        """Sends `line`, a Host field for the address, and `rest` (fields, empty line, and the body if `done`).

        `rest` is called once a connection is there, however long that took: what it signs lives for seconds.

        Raises UpstreamFailed (BUSY; CONNECT after ADDRESSES_TRIED_MAX addresses).
        """
        self._turn += 1
        count = len(hosts)
        for attempt in range(min(count, ADDRESSES_TRIED_MAX)):
            pool = self.pools.of(hosts[(self._turn + attempt) % count])
            connection = None if fresh else pool.acquire_now()
            if connection is None:
                try:
                    connection = await pool.acquire(fresh=fresh)
                except UpstreamFailed as exc:
                    if exc.fault is Fault.CONNECT and attempt + 1 < min(count, ADDRESSES_TRIED_MAX):
                        continue
                    raise
            exchange = Exchange(pool, connection)
            try:
                head = b"%bhost: %b\r\n%b" % (line, pool.address.encode("ascii"), rest())
            except BaseException:
                exchange.end()
                raise
            connection.begin(head, head_only=head_only, done=done, upgrade=upgrade)
            return exchange
        raise UpstreamFailed(Fault.CONNECT)

    def open_now(
        self, hosts: Sequence[str], line: bytes, rest: Callable[[], bytes], *, head_only: bool
    ) -> Exchange | None:
        """The same for a request that is whole, where a connection to the next address is idle; else None, and nothing was sent."""
        self._turn += 1
        pool = self.pools.of(hosts[self._turn % len(hosts)])
        connection = pool.acquire_now()
        if connection is None:
            return None
        exchange = Exchange(pool, connection)
        try:
            head = b"%bhost: %b\r\n%b" % (line, pool.address.encode("ascii"), rest())
        except BaseException:
            exchange.end()
            raise
        connection.begin(head, head_only=head_only, done=True)
        if connection.failed:
            exchange.end()
            return None
        return exchange


def may_repeat(failed: UpstreamFailed, *, method: str, whole: bool) -> bool:
    """Whether a broken exchange may be tried once more: nothing came back, the method is idempotent and the body is still here."""
    return failed.fault is Fault.RESET and not failed.answered and method in IDEMPOTENT and whole


async def send_chunk(connection: Connection, data: bytes, *, chunked: bool) -> None:
    """One piece of a request's body, framed; waits for room."""
    if not data:
        return
    connection.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
    await connection.drain()


def send_end(connection: Connection, *, chunked: bool) -> None:
    connection.write(b"0\r\n\r\n" if chunked else b"", done=True)
