"""Connections of one role on one shard: taken and put back without a task or a timer while some are free, the last used first.

asyncpg's own pool takes a task, a shielded future and timers for each use (docs/benchmarks/records.md). Here it opens connections, and
takes back each one whose use did not end cleanly: it waits for a cancellation, rolls back, or closes.
"""

from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import asyncpg

from foundation.postgres import Pool
from foundation.sessions import Session
from foundation.turns import Turns

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = PoolConnectionProxy[asyncpg.Record]
else:
    Connection = asyncpg.pool.PoolConnectionProxy

USES_MAX = 20_000
"""After so many uses a connection goes back to asyncpg's pool: what a backend remembers of statements and tables would grow for ever."""


class Connections:
    """At most `size_max`, free or in use; at most `waiters_max` wait for one, each for `wait_s` at most."""

    def __init__(self, pool: Pool, *, size_max: int, waiters_max: int, wait_s: float) -> None:
        self._pool = pool
        self._wait_s = wait_s
        self._turns = Turns(at_once=size_max, waiters_max=waiters_max, wait_s=wait_s)
        self._free: list[Held] = []

    def lease(self) -> "Lease":
        """`async with connections.lease() as connection`. Raises Crowded, and what connecting raises."""
        return Lease(self)

    def lease_now(self) -> "Lease | None":
        """The same, of a connection that lies free: it is taken already. None where somebody would have to wait for one."""
        free = self._free
        if not (free and alive(free[-1].session) and self._turns.enter_now()):
            return None
        return Lease(self, free.pop())

    async def take(self) -> "Held":
        """A connection to be `put` back or `given_up`. Raises as `lease`."""
        await self._turns.enter()
        try:
            while self._free:
                held = self._free.pop()
                if alive(held.session):
                    return held
                await self._pool.release(held.connection)
            return Held(await self._pool.acquire(timeout=self._wait_s))
        except BaseException:
            self._turns.leave()
            raise

    def put(self, held: "Held") -> None:
        """Back after a use that ended cleanly."""
        self._free.append(held)
        self._turns.leave()

    async def give_up(self, connection: Connection) -> None:
        """Back to asyncpg's pool, which cleans it or closes it."""
        try:
            await self._pool.release(connection)
        finally:
            self._turns.leave()


class Held:
    """A connection that is out of asyncpg's pool: as the pool gave it, and as it is behind that, which is asked with fewer steps.
    `uses`: how often it was used."""

    __slots__ = ("connection", "session", "uses")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.session: Session = cast("Any", connection).itself()
        self.uses = 0


def alive(connection: Connection | Session) -> bool:
    """Whether it may be used. One that was lost while it lay free has been taken away by asyncpg's pool, and answers nothing any more."""
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:
        return False


class Lease:
    """One use of a connection, perhaps of one that was `taken` before."""

    __slots__ = ("_connections", "_taken")

    def __init__(self, connections: Connections, taken: Held | None = None) -> None:
        self._connections = connections
        self._taken = taken

    async def __aenter__(self) -> Session:
        taken = self._taken
        if taken is None:
            taken = self._taken = await self._connections.take()
        return taken.session

    def unused(self) -> None:
        """Back, as it was taken before."""
        if self._taken is not None:
            self._connections.put(self._taken)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        taken = self._taken
        if taken is None:
            return
        taken.uses += 1
        session = taken.session
        # One that was lost meanwhile, as its shard closed, cannot be asked for its transaction.
        if kind is None and taken.uses < USES_MAX and alive(session) and not session.is_in_transaction():
            self._connections.put(taken)
        else:
            await self._connections.give_up(taken.connection)
