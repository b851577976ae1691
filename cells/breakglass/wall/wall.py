"""The wall of a cell's shards, for the door: implements `cells.breakglass.door.ports.Wall`."""

import asyncio
import base64
import hmac
import secrets
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from cells.breakglass.door.ports import Column, Ending, NotRun, Session
from cells.breakglass.wall import proof, sessions, views
from cells.breakglass.wall.masks import masked, shown
from cells.breakglass.wall.server import ENGINEER, SCHEMA
from cells.breakglass.wall.verifier import verifier
from cells.records.contracts import Contract
from cells.shards.shard import FAULTS, Open, Shard
from cells.shards.store import session as leased
from foundation import logs
from foundation.mute import Secret
from foundation.postgres import Connection
from foundation.words import ShardId

log = logs.get(__name__)

LOGIN_S = 10
"""How long after `credentials` the door may connect. No password is good at any other time."""
SWEEP_S = 5.0
_LABEL = b"domicile: the engineers' login"
_Known: TypeAlias = dict[tuple[int, int], tuple[str, str]]
_Named: TypeAlias = tuple[Session, _Known, tuple[Column, ...], tuple[Column, ...]]
"""For whom, by what was known of columns; which, and as what."""


class Wall:
    """`key`: what all processes of a cell share and nobody else has; the login's password comes of it, so that none undoes another's."""

    def __init__(
        self,
        *,
        shards: Mapping[ShardId, Shard],
        contracts: Mapping[str, Contract],
        key: Secret[bytes],
        sweep_s: float = SWEEP_S,
    ) -> None:
        drawn = hmac.digest(key.reveal(), _LABEL, "sha256")
        self._password = Secret(base64.urlsafe_b64encode(drawn).rstrip(b"=").decode())
        self._verifier = verifier(self._password, secrets.token_bytes(16))
        self._shards = shards
        self._sweep_s = sweep_s
        self._contracts = {name: one for name, one in contracts.items() if shown(one)}
        self._stands: dict[ShardId, Open] = {}
        self._columns: dict[ShardId, _Known] = {}
        self._sessions: dict[str, ShardId] = {}
        self._homes: dict[ShardId, dict[str, sessions.Homes]] = {}
        self._named_last: dict[str, _Named] = {}
        self._unprepared: set[ShardId] = set()

    async def credentials(self, shard: str, *, inside: bool) -> Secret[str]:  # noqa: ARG002 - the port's; one role serves both places
        """The DSN of the engineers' role, good for LOGIN_S. One role for both places: the session's row says where somebody stands.

        Raises NotRun: the wall does not stand on this shard. What is wrong with it is in the log.
        """
        named, kept = self._shard(shard)
        try:
            up = kept.require()
            async with leased(up.cell) as connection:
                await self._proved(connection, kept, up)
                await connection.execute(sessions.LET_IN, self._verifier, LOGIN_S)
        except FAULTS as exc:
            log.fault("wall_not_reached", exc, shard=named)
            raise NotRun(Ending.WALL) from exc
        return kept.dsn_of(ENGINEER, self._password)

    async def admit(self, session: Session, pid: int) -> float:
        """Lets the backend `pid` see what the session may see, and nothing else. When it started (unix seconds). Raises NotRun."""
        named, kept = self._shard(session.shard)
        try:
            up = kept.require()
            async with leased(up.cell) as connection:
                if self._stands.get(named) is not up:
                    await self._proved(connection, kept, up)
                self._columns[named] = await sessions.columns(connection, SCHEMA)
                began = await sessions.admit(connection, session, pid)
                at_home = await sessions.homes(connection, session.id)
        except FAULTS as exc:
            log.fault("wall_not_reached", exc, shard=named)
            raise NotRun(Ending.WALL) from exc
        if began is None:
            log.warning("session_not_admitted", shard=named, pid=pid)
            raise NotRun(Ending.WALL)
        self._sessions[session.id] = named
        self._homes.setdefault(named, {})[session.id] = at_home
        return began

    async def leave(self, session_id: str) -> None:
        """The session's backend sees nothing any more, and ends. Never raises: what cannot be done now, the sweep does, or the expiry."""
        self._named_last.pop(session_id, None)
        named = self._sessions.pop(session_id, None)
        kept = None if named is None else self._shards.get(named)
        if kept is None or kept.up is None:
            return
        try:
            async with leased(kept.up.cell) as connection:
                await sessions.leave(connection, session_id)
        except FAULTS as exc:
            log.fault("session_not_left", exc, shard=kept.id)

    def named(self, session: Session, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        """The same columns, as the wall knows them: where they come from, and whether they are masked for this session. The same twice in
        a row are looked up once.

        Of what a statement computes nobody can say it: it has no source and does not count as masked, and came of masked values.
        """
        known = self._columns.get(ShardId(session.shard), {})
        last = self._named_last.get(session.id)
        if last is None or not (last[0] is session and last[1] is known and last[2] is columns):
            found = tuple(self._named(session, one, known.get((one.table, one.attribute))) for one in columns)
            last = session, known, columns, found
            if session.id in self._sessions:
                self._named_last[session.id] = last
        return last[3]

    def _named(self, session: Session, column: Column, found: tuple[str, str] | None) -> Column:
        if found is None or found[0] not in self._contracts:
            return column
        table, name = found
        hidden = masked(self._contracts[table], name, inside=session.inside, purpose=session.purpose)
        return msgspec.structs.replace(column, source=f"{SCHEMA}.{table}.{name}", masked=hidden)

    async def run(self) -> None:
        """For ever: makes the wall on each shard that comes up, and sweeps."""
        while True:
            for named, kept in list(self._shards.items()):
                if kept.up is not None:
                    await self._kept(named, kept, kept.up)
            await asyncio.sleep(self._sweep_s)

    async def _kept(self, named: ShardId, kept: Shard, up: Open) -> None:
        try:
            if self._stands.get(named) is not up and not await self._install(kept, up):
                return
            async with leased(up.cell) as connection:
                rows, backends = await sessions.sweep(connection)
                before = dict(self._homes.get(named, {}))
                now, parted = await sessions.parted(connection, before)
                self._homes[named] = {**now, **self._admitted_since(named, before, now)}
        except FAULTS as exc:
            log.fault("wall_not_kept", exc, shard=named)
            return
        if rows:
            log.info("sessions_swept", shard=named, count=rows)
        if backends:
            log.warning("backends_ended", shard=named, count=backends)
        if parted:
            log.info("subject_left", shard=named, count=parted)

    def _admitted_since(
        self, named: ShardId, before: Mapping[str, sessions.Homes], now: Mapping[str, sessions.Homes]
    ) -> dict[str, sessions.Homes]:
        """Who was at home, as far as anybody has looked, for sessions that this process has admitted while `now` was looked up."""
        held = self._homes.get(named, {})
        since = {one: homes for one, homes in held.items() if one in self._sessions and before.get(one) is not homes}
        return {one: homes | now.get(one, frozenset()) for one, homes in since.items()}

    def _shard(self, name: str) -> tuple[ShardId, Shard]:
        named = ShardId(name)
        kept = self._shards.get(named)
        if kept is None or kept.up is None:
            raise NotRun(Ending.WALL)
        return named, kept

    async def _proved(self, connection: Connection, kept: Shard, up: Open) -> None:
        """The wall stands, by the catalogue's word of now. Raises NotRun, FAULTS."""
        tables = list(self._contracts)
        if self._stands.get(kept.id) is not up or await proof.missing(connection, tables):
            await self._install(kept, up)
        found = await proof.missing(connection, tables) or await proof.openings(connection, tables)
        if found:
            log.error("wall_open", shard=kept.id, reason="; ".join(found))
            raise NotRun(Ending.WALL)

    async def _install(self, kept: Shard, up: Open) -> bool:
        """False: the server is not prepared for a wall, which is said once. Raises FAULTS."""
        async with kept.as_owner() as owner:
            prepared = await views.install(owner, self._contracts)
        if prepared:
            self._stands[kept.id] = up
        elif kept.id not in self._unprepared:
            self._unprepared.add(kept.id)
            log.warning("wall_not_prepared", shard=kept.id)
        return prepared
