"""The sample product's contracts fit its tables, and the unclassified column stays unseen."""

from pathlib import Path

import pytest

from cells.records.contracts import read_folder
from cells.schema.catalogue import tables
from cells.schema.core import mismatches
from cells.shards.live import regenerate
from cells.shards.shard import MIGRATIONS
from deploy.local.postgres import PostgresServer
from foundation.postgres import connect, migrate, migrations_in
from tests.stands.shard import drop_database, make_shard_database

pytestmark = pytest.mark.anyio

LOCAL = Path(__file__).parents[2] / "deploy" / "local"


async def test_the_samples_tables_fit_their_contracts_and_views_are_made_once(postgres_server: PostgresServer) -> None:
    name, dsns = await make_shard_database(postgres_server, "SELECT 1")
    try:
        await migrate(dsns.owner, migrations_in(LOCAL / "product"), track="product")
        await migrate(dsns.owner, MIGRATIONS, track="shard")
        contracts = read_folder(LOCAL / "contracts")
        oid = "SELECT oid FROM pg_class WHERE relname = 'profiles' AND relkind = 'v'"
        columns = "SELECT attname FROM pg_attribute WHERE attrelid = 'live.profiles'::regclass AND attnum > 0"
        async with connect(dsns.owner) as owner:
            await regenerate(owner, contracts)
            found = await tables(owner, list(contracts))
            assert {name: mismatches(contract, found[name]) for name, contract in contracts.items()} == dict.fromkeys(
                contracts, ()
            )
            made = await owner.fetchval(oid)
            await regenerate(owner, contracts)
            assert await owner.fetchval(oid) == made
            shown = {row["attname"] for row in await owner.fetch(columns)}
            assert shown == set(contracts["profiles"].columns)
            assert "internal_score" not in shown
            await regenerate(owner, {"orders": contracts["orders"]})
            assert await owner.fetchval(oid) is None
    finally:
        await drop_database(postgres_server, name)
