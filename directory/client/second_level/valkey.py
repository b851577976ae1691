"""The second level's store: a port of six primitives, and its form in Valkey or Redis (each script touches one key)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from directory.client.second_level.sealed import AS_OF_DIGITS, VERSION
from foundation.mute import Secret

CALL_S_MAX = 0.1
CONNECT_S_MAX = 0.1
CONNECTIONS_MAX = 16


class SecondLevelDown(Exception):
    """The store did not do as asked in time."""


class SecondLevelStore(Protocol):
    """Every call raises SecondLevelDown, within CALL_S_MAX."""

    async def read(self, names: Sequence[str]) -> list[bytes | None]:
        """The values, read in this order (not at one moment)."""
        ...

    async def claim(
        self, names: Sequence[str], lease: bytes, ttl_ms: int, then: str
    ) -> tuple[list[bool], bytes | None]:
        """Puts `lease` under each name that is free (True), and after that reads `then`."""
        ...

    async def fill(self, rows: Sequence[tuple[str, bytes, int]], lease: bytes) -> list[bool]:
        """(name, value, ttl in ms): replaces `lease`, and nothing else, by the value."""
        ...

    async def amend(self, rows: Sequence[tuple[str, bytes]]) -> None:
        """(name, value): replaces an older entry and keeps its time to live; removes anything that is no entry; adds nothing."""
        ...

    async def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        """Compare-and-set of one name (None: not there)."""
        ...

    async def discard(self, name: str, value: bytes) -> None:
        """Removes the name if it still holds `value`."""
        ...


# Replaces our own lease by the entry: whatever was carried over in between has removed the lease.
_FILL = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""

# Carries an event over to an entry that is there and older. as_of stands at a fixed place, as digits of fixed width.
_AMEND = f"""
local held = redis.pcall('GET', KEYS[1])
if not held then return 0 end
if type(held) == 'table' then return redis.call('DEL', KEYS[1]) end
if string.sub(held, 1, {len(VERSION)}) ~= '{VERSION.decode()}' then return redis.call('DEL', KEYS[1]) end
local from, to = {len(VERSION) + 1}, {len(VERSION) + AS_OF_DIGITS}
if string.sub(held, from, to) < string.sub(ARGV[1], from, to) then redis.call('SET', KEYS[1], ARGV[1], 'KEEPTTL') end
return 0
"""

# Compare-and-set; an empty first argument stands for "not there" (no value of ours is empty).
_SWAP = """
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'table' then held = '' end
if (held or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

# Removes a value that somebody found to be no good, unless it was replaced meanwhile.
_DISCARD = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class ValkeyStore:
    """One primary (replicas and Sentinel as you like): an asynchronous failover loses a suffix of what was written, never a middle."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        self._client = client

    async def read(self, names: Sequence[str]) -> list[bytes | None]:
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.get(name)
        return [_bytes_or_none(value) for value in await _bounded(pipeline.execute(raise_on_error=False))]

    async def claim(
        self, names: Sequence[str], lease: bytes, ttl_ms: int, then: str
    ) -> tuple[list[bool], bytes | None]:
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.set(name, lease, nx=True, px=ttl_ms)
        pipeline.get(then)
        *granted, value = await _bounded(pipeline.execute(raise_on_error=False))
        granted = [not isinstance(one, Exception) and one for one in granted]
        return [bool(one) for one in granted], _bytes_or_none(value)

    async def fill(self, rows: Sequence[tuple[str, bytes, int]], lease: bytes) -> list[bool]:
        pipeline = self._client.pipeline(transaction=False)
        for name, value, ttl_ms in rows:
            pipeline.eval(_FILL, 1, name, lease, value, ttl_ms)
        return [bool(one) for one in await _bounded(pipeline.execute())]

    async def amend(self, rows: Sequence[tuple[str, bytes]]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for name, value in rows:
            pipeline.eval(_AMEND, 1, name, value)
        await _bounded(pipeline.execute())

    async def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        return bool(await _bounded(self._client.eval(_SWAP, 1, name, old or b"", new)))

    async def discard(self, name: str, value: bytes) -> None:
        await _bounded(self._client.eval(_DISCARD, 1, name, value))


def _bytes_or_none(value: Any) -> bytes | None:
    """A value of another type than ours, or an error about this one name, is no value."""
    return value if isinstance(value, bytes) else None


async def _bounded(call: Awaitable[Any]) -> Any:
    try:
        async with asyncio.timeout(CALL_S_MAX):
            return await call
    except (RedisError, OSError, TimeoutError) as exc:
        raise SecondLevelDown(type(exc).__name__) from exc


@asynccontextmanager
async def valkey_client(url: Secret[str], *, connections_max: int) -> "AsyncIterator[redis.asyncio.Redis]":
    """A client of `redis[s]://…`; connects when first used, and never retries by itself. Whoever calls bounds each call."""
    client = redis.asyncio.from_url(
        url.reveal(),
        # No timeout of redis-py's own: it would use asyncio.wait_for, which swallows a cancellation that comes as the inner call ends
        # (cpython issue 86296, until 3.12).
        socket_timeout=None,
        socket_connect_timeout=CONNECT_S_MAX,
        max_connections=connections_max,
        retry=Retry(NoBackoff(), 0),
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    async with client:
        yield client


@asynccontextmanager
async def valkey_store(url: Secret[str]) -> AsyncIterator[ValkeyStore]:
    """The circuit decides when to try again."""
    async with valkey_client(url, connections_max=CONNECTIONS_MAX) as client:
        yield ValkeyStore(client)
