"""The registry as it stands, read again only when the feed's head says that it changed."""

from directory.registry import store
from directory.registry.core import EMPTY, Registry
from foundation.postgres import Pool


class LiveRegistry:
    """Asks the database every time since which event it stands (one row); reads the entries when that is another one than held."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._held = EMPTY

    async def current(self) -> Registry:
        """Raises DatabaseUnavailable."""
        if await store.changed_at(self._pool) != self._held.seq:
            self._held = await store.read(self._pool)
        return self._held
