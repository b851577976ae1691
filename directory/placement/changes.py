"""Writes of placements: each change is one transaction over subject, lookup keys, history, outbox and, last, the feed.

Locks are taken in one order (idempotency row, subject, keys sorted, feed counter), so writers queue and do not deadlock.
"""

from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec

from directory.aliases.core import first_twins
from directory.database import session, transaction
from directory.feed import store as feed
from directory.placement import store
from directory.placement.answers import ClaimedKey
from directory.placement.core import RESERVATION_S, Facts, Placement, State
from directory.placement.locking import locked, locked_expired
from directory.placement.outcomes import Anew, Done, NewSubject, Repeat, Repeated, RulesMoved, Taken
from directory.placement.provenance import Provenance
from directory.placement.store import OF_PART
from directory.placement.transitions import Action, Request, Step, Unchanged, outcome
from foundation.clock import Clock
from foundation.ledger.outbox import PostgresOutbox
from foundation.ledger.port import Event, Kind
from foundation.postgres import Connection, Pool
from foundation.problems import Problem
from foundation.words import Epoch, LookupKey, SubjectId

EXPIRY_ACTOR = "service:directory"

# purpose: the id of a set of facts, where it is stored
_FACTS_FIND = """
SELECT facts_id FROM directory.facts
WHERE regimes = $1 AND residence = $2 AND subdivision IS NOT DISTINCT FROM $3 AND citizenships IS NOT DISTINCT FROM $4
    AND tags = $5 AND terms IS NOT DISTINCT FROM $6
"""

# purpose: store a set of facts unless somebody else just did
_FACTS_ADD = """
INSERT INTO directory.facts (regimes, residence, subdivision, citizenships, tags, terms) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
"""

# purpose: take an idempotency key; waits for a concurrent taker, no row = it is taken
_IDEMPOTENCY = """
INSERT INTO directory.idempotency (actor, key, body, subject_id) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING RETURNING true
"""

# purpose: a reservation under a new epoch and its first history entry
_RESERVE = """
WITH s AS (
    INSERT INTO directory.subject (subject_id, cell, shard, epoch, state, services, facts_id, changes, expires_at)
    VALUES ($1, $2, $3, nextval('directory.epoch_seq'), 'reserved', $4, $5, 1, clock_timestamp() + make_interval(secs => $6))
    RETURNING subject_id, epoch
)
INSERT INTO directory.history (subject_id, number, at, actor, reason, from_state, to_state, epoch, provenance)
SELECT subject_id, 1, clock_timestamp(), $7, $8, NULL, 'reserved', epoch, $9::jsonb FROM s
RETURNING epoch
"""

# purpose: claim lookup keys in sorted order; waits for concurrent claimers, returns the ones that were free
_CLAIM = """
INSERT INTO directory.lookup_key (key, kind, subject_id, kid, twin_of)
SELECT key, kind, $3, kid, twin_of FROM unnest($1::text[], $2::text[], $4::text[], $5::text[]) AS asked(key, kind, kid, twin_of)
ORDER BY key COLLATE "C"
ON CONFLICT DO NOTHING RETURNING key
"""

# purpose: a new state, under a new epoch or the same ($3), where placed anew also services and facts ($8, $9, else null), and its history
# entry; only if the subject is still under the epoch read. Whose part was acknowledged has two entries in the part. The part is told of
# whoever changes before it is settled
_STEP = f"""
WITH s AS (
    UPDATE directory.subject AS s SET
        state = $4, expires_at = NULL,
        changes = s.changes + 1 + (
            SELECT count(*) FROM directory.bulk_part p WHERE {OF_PART} AND p.part = s.part AND p.acknowledged_at IS NOT NULL
        )::int,
        epoch = CASE WHEN $3 THEN nextval('directory.epoch_seq') ELSE s.epoch END,
        services = coalesce($8::text[], s.services), facts_id = coalesce($9::bigint, s.facts_id)
    WHERE s.subject_id = $1 AND s.epoch = $2
    RETURNING s.subject_id, s.epoch, s.changes, s.part
), a AS (
    INSERT INTO directory.bulk_alone (part, subject_id)
    SELECT p.part, s.subject_id FROM s JOIN directory.bulk_part p ON p.part = s.part
    WHERE p.settled_at IS NULL AND p.expires_at IS NOT NULL
    ON CONFLICT DO NOTHING
)
INSERT INTO directory.history (subject_id, number, at, actor, reason, from_state, to_state, epoch, provenance)
SELECT subject_id, changes, clock_timestamp(), $5, $6, $7, $4, epoch, $10::jsonb FROM s
RETURNING epoch, number
"""  # noqa: S608

# purpose: give all lookup keys of a subject back, and with them its claims; those it was imported with are named by its own row
_FREE = """
WITH c AS (
    UPDATE directory.alias_claim SET state = 'released', expires_at = NULL, changes = changes + 1
    WHERE subject_id = $1 AND state <> 'released' RETURNING claim_id, changes
), h AS (
    INSERT INTO directory.alias_history (claim_id, number, at, actor, reason, from_state, to_state)
    SELECT claim_id, changes, clock_timestamp(), $2, $3, NULL, 'released' FROM c
), i AS (
    SELECT substr(s.keys, place, 32) AS key
    FROM directory.subject s CROSS JOIN LATERAL generate_series(1, length(s.keys), 32) AS place
    WHERE s.subject_id = $1
), n AS (
    UPDATE directory.subject SET keys = NULL WHERE subject_id = $1 AND keys IS NOT NULL
)
DELETE FROM directory.lookup_key WHERE key IN (
    SELECT key FROM directory.lookup_key WHERE subject_id = $1 AND NOT imported
    UNION SELECT k.key FROM i JOIN directory.lookup_key k ON k.key = i.key AND k.subject_id = $1
    UNION SELECT k.key FROM directory.lookup_key k JOIN c ON c.claim_id = k.claim_id
) RETURNING key
"""

# purpose: forget idempotency keys that are older than anybody repeats
_FORGET = """
DELETE FROM directory.idempotency
WHERE (actor, key) IN (
    SELECT actor, key FROM directory.idempotency
    WHERE created_at < clock_timestamp() - make_interval(secs => $1) ORDER BY created_at LIMIT 1000
)
"""


class _RollBack(Exception):
    """Leaves a transaction without its effects, with the result to return."""

    def __init__(self, result: Taken | Repeated | RulesMoved) -> None:
        super().__init__(type(result).__name__)
        self.result = result


class _MovedOn(Exception):
    """Leaves a transaction without its effects: other rules hold by now."""


class Changes:
    """The directory's writer. `reservation_s` is how long a reservation waits for its cell's acknowledgement."""

    def __init__(self, pool: Pool, clock: Clock, *, reservation_s: float = RESERVATION_S) -> None:
        self._pool = pool
        self._clock = clock
        self._reservation_s = reservation_s
        self._outbox = PostgresOutbox("directory")

    async def place(self, new: NewSubject, repeat: Repeat | None) -> Done | Taken | Repeated | RulesMoved:
        """Reserves a subject with all its keys, or does nothing. Raises DatabaseUnavailable."""
        facts_id = await self.facts_id(new.facts)
        try:
            async with transaction(self._pool) as tx:
                return await self._place(tx, new, facts_id, repeat)
        except _RollBack as stop:
            return stop.result

    async def earlier(self, actor: str, repeat: Repeat) -> Repeated | None:
        """What this idempotency key did already, if anything. Raises DatabaseUnavailable."""
        async with session(self._pool) as connection:
            found = await store.replay(connection, actor, repeat.key)
        return None if found is None else Repeated(*found)

    async def _place(self, tx: Connection, new: NewSubject, facts_id: int, repeat: Repeat | None) -> Done:
        if repeat is not None:
            await self._take_idempotency_key(tx, new, repeat)
        epoch = await tx.fetchval(
            _RESERVE,
            new.subject_id,
            new.cell,
            new.shard,
            list(new.services),
            facts_id,
            self._reservation_s,
            new.actor,
            new.reason,
            _json(new.provenance),
        )
        await _claim(tx, new.subject_id, new.keys)
        placement = Placement(
            subject_id=new.subject_id,
            cell=new.cell,
            shard=new.shard,
            epoch=Epoch(epoch),
            state=State.RESERVED,
            services=new.services,
            facts=msgspec.structs.replace(new.facts, facts_id=facts_id),
        )
        await self._record(tx, placement, 1, actor=new.actor, reason=new.reason, before=None, why=new.provenance)
        keys = tuple(LookupKey(one.key) for one in new.keys)
        seq = await feed.append_placement(tx, placement, keys_added=keys, under=new.under, registry=new.registry)
        if seq is None:
            raise _RollBack(RulesMoved())
        return Done(seq, placement)

    async def _take_idempotency_key(self, tx: Connection, new: NewSubject, repeat: Repeat) -> None:
        if await tx.fetchval(_IDEMPOTENCY, new.actor, repeat.key, repeat.body, new.subject_id):
            return
        earlier = await store.replay(tx, new.actor, repeat.key)
        if earlier is None:  # pruned between the two statements: as good as other rules, try again
            raise _RollBack(RulesMoved())
        raise _RollBack(Repeated(*earlier))

    async def change(self, subject_id: SubjectId, request: Request, *, actor: str, reason: str) -> Done | Problem:
        """One step of one subject, as `transitions.outcome` decides. Raises DatabaseUnavailable."""
        async with transaction(self._pool) as tx:
            return await self._change(tx, subject_id, request, actor=actor, reason=reason)

    async def place_anew(
        self, subject_id: SubjectId, request: Request, anew: Anew, *, actor: str, reason: str
    ) -> Done | Problem | RulesMoved:
        """The same with other services and what follows from them, or nothing when other rules hold. Raises DatabaseUnavailable."""
        facts_id = await self.facts_id(anew.facts)
        kept = msgspec.structs.replace(anew, facts=msgspec.structs.replace(anew.facts, facts_id=facts_id))
        try:
            async with transaction(self._pool) as tx:
                return await self._change(tx, subject_id, request, actor=actor, reason=reason, anew=kept)
        except _MovedOn:
            return RulesMoved()

    async def _change(
        self,
        tx: Connection,
        subject_id: SubjectId,
        request: Request,
        *,
        actor: str,
        reason: str,
        anew: Anew | None = None,
    ) -> Done | Problem:
        current = await locked(tx, subject_id)
        decided = outcome(current, request)
        if isinstance(decided, Problem):
            return decided
        if current is None:
            _impossible()
        if isinstance(decided, Unchanged):
            return Done(await feed.head(tx), current)
        return await self._step(tx, current, decided, actor=actor, reason=reason, anew=anew)

    async def expire_one(self) -> Done | None:
        """Erases the reservation that expired first, by the database's clock; None when none has. Raises DatabaseUnavailable."""
        async with transaction(self._pool) as tx:
            current = await locked_expired(tx)
            if current is None:
                return None
            decided = outcome(current, Request(action=Action.EXPIRE, epoch=current.epoch))
            if not isinstance(decided, Step):  # its part was acknowledged just now
                return None
            return await self._step(
                tx, current, decided, actor=EXPIRY_ACTOR, reason="not acknowledged by its cell in time"
            )

    async def _step(
        self, tx: Connection, current: Placement, step: Step, *, actor: str, reason: str, anew: Anew | None = None
    ) -> Done:
        row = await tx.fetchrow(
            _STEP,
            current.subject_id,
            current.epoch,
            step.new_epoch,
            step.state.value,
            actor,
            reason,
            current.state.value,
            None if anew is None else list(anew.services),
            None if anew is None else anew.facts.facts_id,
            None if anew is None else _json(anew.provenance),
        )
        if row is None:
            _impossible()
        freed = await tx.fetch(_FREE, current.subject_id, actor, reason) if step.frees_keys else []
        placement = msgspec.structs.replace(current, state=step.state, epoch=Epoch(row["epoch"]))
        if anew is not None:
            placement = msgspec.structs.replace(placement, services=anew.services, facts=anew.facts)
        why = None if anew is None else anew.provenance
        await self._record(tx, placement, row["number"], actor=actor, reason=reason, before=current.state, why=why)
        keys = tuple(LookupKey(one["key"]) for one in freed)
        under = None if anew is None else anew.under
        seq = await feed.append_placement(tx, placement, keys_removed=keys, under=under)
        if seq is None and anew is None:
            _impossible()
        if seq is None:
            raise _MovedOn
        return Done(seq, placement)

    async def forget_idempotency_keys(self, older_than_s: float) -> None:
        """Raises DatabaseUnavailable."""
        async with session(self._pool) as connection:
            await connection.execute(_FORGET, older_than_s)

    async def facts_id(self, facts: Facts) -> int:
        """The id of a set of facts, stored where it was not; outside the placing transaction: writers of the same facts do not wait for
        each other's commits. Raises DatabaseUnavailable."""
        citizenships = None if facts.citizenships is None else list(facts.citizenships)
        place = (facts.residence, facts.subdivision, citizenships)
        values = (list(facts.regimes), *place, list(facts.tags), facts.terms)
        async with session(self._pool) as connection:
            found = await connection.fetchval(_FACTS_FIND, *values)
            if found is None:
                await connection.execute(_FACTS_ADD, *values)
                found = await connection.fetchval(_FACTS_FIND, *values)
        return int(found)

    async def _record(
        self,
        tx: Connection,
        placement: Placement,
        number: int,
        *,
        actor: str,
        reason: str,
        before: State | None,
        why: Provenance | None = None,
    ) -> None:
        """`why`: of a change that placed the subject."""
        details: dict[str, Any] = {
            "cell": placement.cell,
            "shard": placement.shard,
            "epoch": placement.epoch,
            "from": before.value if before else None,
            "to": placement.state.value,
            "reason": reason,
        }
        if why is not None:
            details |= {"services": list(placement.services), "rules": why.rules, "ground": why.ground}
        event = Event(
            id=f"placement/{placement.subject_id}/{number}",
            at=self._clock.unix_s(),
            kind=Kind.PLACEMENT,
            actor=actor,
            subject_id=placement.subject_id,
            details=details,
        )
        await self._outbox.append(tx, event)


async def _claim(tx: Connection, subject_id: SubjectId, keys: Sequence[ClaimedKey]) -> None:
    kids, twins = [one.kid for one in keys], list(first_twins(keys))
    rows = await tx.fetch(_CLAIM, [one.key for one in keys], [one.kind for one in keys], subject_id, kids, twins)
    free = {row["key"] for row in rows}
    taken = tuple(sorted({one.kind for one in keys if one.key not in free}))
    if taken:
        raise _RollBack(Taken(taken))


def _json(why: Provenance) -> str:
    return msgspec.json.encode(why).decode()


def _impossible() -> NoReturn:
    raise RuntimeError("a locked subject changed under its lock")
