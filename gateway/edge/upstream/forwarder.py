"""Opens exchanges: renders the head of a request for a service and puts it on a connection to one of its addresses."""

from collections.abc import Sequence
from typing import Final

from gateway.edge.upstream.breaker import CLOSED
from gateway.edge.upstream.connection import Connection
from gateway.edge.upstream.exchange import Exchange, Sending
from gateway.edge.upstream.fault import Fault, UpstreamFailed
from gateway.edge.upstream.pool import AddressPool, Pools

ADDRESSES_TRIED_MAX = 3
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""RFC 9110 section 9.2.2: these alone may be sent again when nobody knows whether they were acted on."""


Taken = tuple[AddressPool, int, Connection]
"""What an `Exchange` is made of."""


class Forwarder:
    """Takes addresses in turn; passes by one that refuses connections, or that is not to be asked for a while."""

    def __init__(self, pools: Pools) -> None:
        self.pools = pools
        self._known: dict[str, AddressPool] = {}
        self._turn = 0

    def barred_s(self, hosts: Sequence[str]) -> float | None:
        """None where one of `hosts` may be asked now, else the seconds until the first may."""
        for host in hosts:
            if self.pools.of(host).health.admits():
                return None
        return min((self.pools.of(host).health.left_s() for host in hosts), default=0.0)

    async def open(self, hosts: Sequence[str], sending: Sending, *, fresh: bool = False) -> Exchange:
        """Sends it over an idle connection, or a new one where there is none, or if `fresh`.

        Raises UpstreamFailed (BUSY; CONNECT after ADDRESSES_TRIED_MAX addresses; OPEN where none may be asked).
        """
        self._turn += 1
        tried = 0
        for number in range(len(hosts)):
            pool = self.pools.of(hosts[(self._turn + number) % len(hosts)])
            ticket = pool.health.admit()
            if ticket is None:
                continue
            tried += 1
            # A probe that meets the end of an old connection proves nothing.
            alone = fresh or pool.health.state is not CLOSED
            connection = None if alone else pool.acquire_now()
            if connection is None:
                try:
                    connection = await _acquired(pool, ticket, fresh=alone)
                except UpstreamFailed as exc:
                    if exc.fault is Fault.CONNECT and tried < ADDRESSES_TRIED_MAX and number + 1 < len(hosts):
                        continue
                    raise
            return _begun(pool, ticket, connection, sending)
        if tried:
            raise UpstreamFailed(Fault.CONNECT)
        raise UpstreamFailed(Fault.OPEN, wait_s=self.barred_s(hosts) or 0.0)

    def take_now(self, hosts: Sequence[str]) -> Taken | None:
        """The parts of one that the caller begins, where the next address is well and a connection to it is idle; else None."""
        self._turn += 1
        address = hosts[self._turn % len(hosts)]
        pool = self._known.get(address)
        if pool is None:
            pool = self._known[address] = self.pools.of(address)
        breaker = pool.breaker
        connection = pool.acquire_now() if breaker.state is CLOSED else None
        return None if connection is None else (pool, breaker.period, connection)


def head_of(line: bytes, host: bytes, rest: bytes) -> bytes:
    return b"%bhost: %b\r\n%b" % (line, host, rest)


def _begun(pool: AddressPool, ticket: int, connection: Connection, sending: Sending) -> Exchange:
    exchange = Exchange(pool, ticket, connection)
    try:
        head = head_of(sending.line, pool.host_field, sending.rest())
    except BaseException:
        exchange.end()
        raise
    connection.begin(head, head_only=sending.head_only, done=sending.done, upgrade=sending.upgrade)
    return exchange


async def _acquired(pool: AddressPool, ticket: int, *, fresh: bool) -> Connection:
    """A connection for whoever holds `ticket`, who otherwise holds it no more. Raises UpstreamFailed (BUSY, CONNECT)."""
    try:
        return await pool.acquire(fresh=fresh)
    except UpstreamFailed as exc:
        pool.health.broke(ticket, exc.fault)
        raise
    except BaseException:
        pool.health.given_back(ticket)
        raise


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
