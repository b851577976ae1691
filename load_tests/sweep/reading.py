"""Everything that a sweep compares, read from each shard as its owner and from the directory."""

import asyncio
import datetime

import asyncpg
import httpx

from foundation.mute import Secret
from foundation.postgres import connect
from foundation.settings import SettingsError
from load_tests.faults.directory import Directory
from load_tests.faults.window import CUT_LOOKS_BACK_S
from load_tests.sweep.found import Crossing, Fence, Found, Placed, Row
from load_tests.target import Target

TRIES = 10
PAUSE_S = 2.0
# Orders and notes on a shard, with their subjects.
ORDERS = "SELECT subject_id::text AS subject, id::text AS id FROM product.orders"
NOTES = "SELECT subject_id::text AS subject, id::text AS id FROM product.notes"
PROFILES = "SELECT subject_id::text AS subject, id::text AS id FROM product.profiles"
# Every fence of a shard.
FENCES = "SELECT subject_id::text AS subject, epoch, state FROM domicile.home"
# One subject's fence, and in the same snapshot which of its latest rows are stored.
FENCE = """
SELECT f.epoch,
       ARRAY(SELECT o.id::text FROM product.orders AS o WHERE o.subject_id = $1::uuid AND o.placed_at > now() - $2::interval)
    || ARRAY(SELECT n.id::text FROM product.notes AS n WHERE n.subject_id = $1::uuid AND n.created_at > now() - $2::interval)
       AS stored
FROM domicile.home AS f WHERE f.subject_id = $1::uuid
"""
# Cuts that were begun and not ended.
CLOSING = "SELECT subject_id::text AS subject FROM domicile.closing"
# Crossings booked on a shard.
CROSSINGS = "SELECT subject_id::text AS subject, trace_id AS trace, ground, from_region, verb FROM domicile.crossing"


async def everything(target: Target, dsns: dict[str, Secret[str]], directory: Directory) -> Found:
    """Raises OSError, asyncpg.PostgresError, httpx.HTTPError where a part cannot be reached."""
    found = Found()
    for cell, stated in target.cells.items():
        for shard, env in stated.shards.items():
            async with connect(dsns[f"{env}_OWNER"], application_name="domicile-load") as connection:
                await _shard(connection, cell, shard, found)
        for one in await directory.placements(cell):
            found.placed.append(Placed(one["subject_id"], one["cell"], one["shard"], int(one["epoch"]), one["state"]))
    return found


async def _shard(connection: "asyncpg.Connection[asyncpg.Record]", cell: str, shard: str, found: Found) -> None:
    for table, query in (("orders", ORDERS), ("notes", NOTES), ("profiles", PROFILES)):
        rows = await connection.fetch(query)
        found.rows += [Row(table, row["subject"], row["id"], cell, shard) for row in rows]
    fences = await connection.fetch(FENCES)
    found.fences += [Fence(row["subject"], row["epoch"], row["state"], cell, shard) for row in fences]
    found.closing += [(row["subject"], f"{cell}/{shard}") for row in await connection.fetch(CLOSING)]
    crossings = await connection.fetch(CROSSINGS)
    found.crossings += [
        Crossing(row["subject"], row["trace"], row["ground"], row["from_region"], row["verb"], cell, shard)
        for row in crossings
    ]


async def swept(target: Target, dsns: dict[str, Secret[str]] | None, directory: Directory | None) -> Found | None:
    """None where databases or directory are not this operator's to ask. Tried again while something comes back. Raises SettingsError."""
    if dsns is None or directory is None:
        return None
    for tries in range(TRIES):
        try:
            return await everything(target, dsns, directory)
        except (OSError, asyncpg.PostgresError, httpx.HTTPError) as exc:
            if tries == TRIES - 1:
                raise SettingsError(f"the sweep cannot read everything: {str(exc) or type(exc).__name__}") from exc
            await asyncio.sleep(PAUSE_S)
    return None


class FenceReader:
    """Looks at single fences while the load runs."""

    def __init__(self, target: Target, dsns: dict[str, Secret[str]]) -> None:
        self._dsns = {
            cell: [dsns[f"{env}_OWNER"] for env in stated.shards.values()] for cell, stated in target.cells.items()
        }

    async def look(self, cell: str, subject: str) -> tuple[int, frozenset[str]] | None:
        """The fence's epoch and what is stored under it. None where it cannot be asked just now."""
        try:
            for dsn in self._dsns[cell]:
                async with connect(dsn, application_name="domicile-load") as connection:
                    row = await connection.fetchrow(FENCE, subject, datetime.timedelta(seconds=CUT_LOOKS_BACK_S))
                if row is not None:
                    return int(row["epoch"]), frozenset(row["stored"])
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return None
        return None
