"""The embedded servers are the versions we say, and guard their doors."""

import asyncpg
import pytest
import redis.asyncio

from deploy.local.postgres import PostgresServer
from deploy.local.valkey import ValkeyServer
from foundation.mute import Secret
from foundation.postgres import connect

pytestmark = pytest.mark.anyio


async def test_postgres_is_18_and_writes_checksums(database: Secret[str]) -> None:
    async with connect(database) as connection:
        assert (await connection.fetchval("SHOW server_version_num")).startswith("18")
        assert await connection.fetchval("SHOW data_checksums") == "on"


async def test_postgres_refuses_a_wrong_password(postgres_server: PostgresServer) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        async with connect(postgres_server.dsn(password=Secret("wrong"))):
            pass


async def test_valkey_is_9_and_asks_for_its_password(valkey_server: ValkeyServer) -> None:
    async with redis.asyncio.from_url(valkey_server.url().reveal()) as client:
        info = await client.info("server")
        assert info["valkey_version"].startswith("9")
    async with redis.asyncio.Redis(port=valkey_server.port) as stranger:
        with pytest.raises(redis.exceptions.AuthenticationError):
            await stranger.ping()
