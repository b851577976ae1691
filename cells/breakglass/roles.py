"""Who may log in to the shards' servers: nobody but the roles of the services themselves, and the SQL door's for the seconds in which it
opens a session. What is found is compared by a pure function."""

from collections.abc import Collection, Mapping, Sequence

import asyncpg
import msgspec

from cells.breakglass import store
from cells.breakglass.store import Login
from cells.breakglass.wall.server import ENGINEER
from cells.shards.shard import LOST, Shard, unreachable
from cells.shards.store import session
from foundation.words import ShardId


class ShardLogins(msgspec.Struct, frozen=True, kw_only=True):
    """`services`: roles that log in and are no person's, as settings say. `door`: the SQL door's, whose password is good for seconds.
    `standing`: every other, each a finding. `absent`: roles that settings name and the server does not have, or does not let in."""

    shard: ShardId
    services: tuple[Login, ...]
    door: tuple[Login, ...]
    standing: tuple[Login, ...]
    absent: tuple[str, ...]


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """`clean`: on no shard does anybody hold a login that stands."""

    clean: bool
    shards: tuple[ShardLogins, ...]


def compared(shard: ShardId, found: Sequence[Login], expected: Collection[str]) -> ShardLogins:
    """Pure."""
    held = {one.role for one in found}
    door = tuple(one for one in found if one.role == ENGINEER and one.closed and not one.may)
    return ShardLogins(
        shard=shard,
        services=tuple(one for one in found if one.role in expected and one.role != ENGINEER),
        door=door,
        standing=tuple(one for one in found if one not in door and (one.role not in expected or one.role == ENGINEER)),
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
