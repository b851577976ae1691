"""Sessions of Postgres that run a statement again with few steps: what `asyncpg.Connection.fetch` asks before and after each statement is
left out where its answer is known.

It takes asyncpg at what it is (`Connection._execute` and what that calls, of the version that is locked), so whatever is not as usual is
left to `fetch` itself.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection


class Session(Connection):
    """Give it to a pool as its `connection_class`."""

    __slots__ = ()

    def itself(self) -> "Session":
        """Of a pool's proxy, the session behind it: good for as long as the proxy has not gone back."""
        return self

    async def fetch_again(self, query: str, arguments: Sequence[Any]) -> list[asyncpg.Record]:
        """What `fetch` answers, outside of any transaction and by whoever has the session alone. Raises as that does."""
        inner: Any = self
        prepared = inner._stmt_cache.get((query, asyncpg.Record, False))  # noqa: SLF001 - as all that follows
        if prepared is None:
            return await self.fetch(query, *arguments)
        try:
            answered: list[asyncpg.Record] = await inner._protocol.bind_execute(  # noqa: SLF001
                prepared, arguments, "", 0, False, None
            )
        except asyncpg.InvalidCachedStatementError:  # its table has changed, and nothing was done
            return await self.fetch(query, *arguments)
        except asyncpg.OutdatedSchemaCacheError:  # a type has, and it was done
            await self.reload_schema_state()
            raise
        return answered
