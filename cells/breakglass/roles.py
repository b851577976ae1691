"""Who may log in to the shards' servers: nobody but the roles of the services themselves. What is found is compared by a pure function."""

from collections.abc import Collection, Mapping, Sequence

import asyncpg
import msgspec

from cells.breakglass import store
from cells.breakglass.store import Login
from cells.shards.shard import LOST, Shard, unreachable
from cells.shards.store import session
from foundation.words import ShardId


class ShardLogins(msgspec.Struct, frozen=True, kw_only=True):
    """`services`: roles that log in and are no person's, as settings say. `standing`: every other, each a finding. `absent`: roles that
    settings name and the server does not have, or does not let in."""

    shard: ShardId
    services: tuple[Login, ...]
    standing: tuple[Login, ...]
    absent: tuple[str, ...]


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """`clean`: on no shard does anybody hold a login that stands."""

    clean: bool
    shards: tuple[ShardLogins, ...]


def compared(shard: ShardId, found: Sequence[Login], expected: Collection[str]) -> ShardLogins:
    """Pure."""
    held = {one.role for one in found}
    return ShardLogins(
        shard=shard,
        services=tuple(one for one in found if one.role in expected),
        standing=tuple(one for one in found if one.role not in expected),
        absent=tuple(sorted(set(expected) - held)),
    )


async def audited(shards: Mapping[ShardId, Shard], further: Collection[str]) -> Audit:
    """Asks every shard's server. One that cannot be asked proves nothing: raises ProblemError."""
    told = []
    for name, shard in sorted(shards.items()):
        try:
            async with session(shard.require().cell) as connection:
                found = await store.logins(connection)
        except (*LOST, asyncpg.PostgresError) as exc:
            raise unreachable(name) from exc
        told.append(compared(name, found, {*shard.logins, *further}))
    return Audit(clean=bool(told) and not any(one.standing for one in told), shards=tuple(told))
