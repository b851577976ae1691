"""How people lie over the cells, as sign-in hints draw decoys by it: estimated at times, told to everybody as one value. SQL.

A decoy must not move while its stranger stays one, so the value that is told changes only when it is off by more than OFF_MAX.
"""

from directory.database import session, transaction
from foundation.postgres import Pool
from foundation.words import CellId

OFF_MAX = 0.05
SAMPLE_ROWS = 50_000.0
_GRAIN = 64

# purpose: how many subjects there may be, by the database's own statistics
_ABOUT = "SELECT greatest(reltuples, 0)::float8 FROM pg_class WHERE oid = 'directory.subject'::regclass"

# purpose: people by cell in a sample of pages
_SAMPLE = """
SELECT cell, count(*)::float8 AS people FROM directory.subject TABLESAMPLE SYSTEM ($1)
WHERE state IN ('active', 'frozen', 'moving_in') GROUP BY cell
"""

# purpose: the shares that hold
_READ = "SELECT cell, weight FROM directory.population ORDER BY cell"

# purpose: one writer at a time
_LOCK = "LOCK TABLE directory.population IN SHARE ROW EXCLUSIVE MODE"

# purpose: forget what was told
_CLEAR = "DELETE FROM directory.population"

# purpose: this is told from now on
_WRITE = "INSERT INTO directory.population (cell, weight) SELECT * FROM unnest($1::text[], $2::float8[])"


async def read(pool: Pool) -> dict[CellId, float]:
    """The share of each cell, together 1; empty before the first person. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        return {CellId(row["cell"]): row["weight"] for row in await connection.fetch(_READ)}


async def refresh(pool: Pool) -> bool:
    """Estimates anew; whether another value is told from now on. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        about = float(await connection.fetchval(_ABOUT))
        percent = 100.0 if about <= SAMPLE_ROWS else 100.0 * SAMPLE_ROWS / about
        found = {CellId(row["cell"]): float(row["people"]) for row in await connection.fetch(_SAMPLE, percent)}
    fresh = shares(found)
    if not off(await read(pool), fresh):
        return False
    async with transaction(pool) as tx:
        await tx.execute(_LOCK)
        await tx.execute(_CLEAR)
        await tx.execute(_WRITE, list(fresh), list(fresh.values()))
    return True


def shares(people: dict[CellId, float]) -> dict[CellId, float]:
    """Parts of 1 in coarse grains, none below one grain: so that one person more moves nobody's decoy. Pure."""
    total = sum(people.values())
    grains = {cell: max(1, round(_GRAIN * count / total)) for cell, count in sorted(people.items()) if count > 0}
    return {cell: count / sum(grains.values()) for cell, count in grains.items()}


def off(told: dict[CellId, float], fresh: dict[CellId, float]) -> bool:
    """Whether what is told is too far from what is found. A database without anybody changes nothing. Pure."""
    cells = told.keys() | fresh.keys()
    return bool(fresh) and any(abs(told.get(cell, 0.0) - fresh.get(cell, 0.0)) > OFF_MAX for cell in cells)
