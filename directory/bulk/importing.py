"""Taking a batch in: rules and registry of now, where its keys lead, the decision off the event loop, one transaction."""

import asyncio
import hashlib
import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import assert_never

import msgspec

from directory.bulk import store
from directory.bulk.answers import BatchAnswer, BulkRow
from directory.bulk.copied import Batch
from directory.bulk.core import Ruling, decide, keys_of
from directory.bulk.kept import Kept
from directory.bulk.packed import KEY_BYTES, Packed, pack, rows_of
from directory.bulk.plan import Plan, decide_free, of_decided
from directory.metrics import CHANGES
from directory.placement.core import Facts
from directory.placement.placing import today
from directory.services import Services
from foundation import logs
from foundation.problems import Code, Problem
from foundation.words import mint_subject_id

log = logs.get(__name__)

TRIES_MAX = 5
SAMPLED = 200
"""Of the keys of a batch in columns one in so many is asked for before it is tried: a file that is sent again is known by it."""

Given = Packed | tuple[BulkRow, ...]
"""The rows of a batch, in columns or one by one."""


class Importing:
    """The use case. Everything it decides comes from `core.decide` and `plan.decide_free`; everything it stores goes through
    `store.place`."""

    def __init__(self, services: Services, kept: Kept) -> None:
        self._services = services
        self._kept = kept

    async def check(self, given: Given) -> BatchAnswer | Problem:
        """What would become of the rows; nothing is stored. Raises DatabaseUnavailable."""
        pool = self._services.pool
        if isinstance(given, Packed) and await store.any_held(pool, _texts(given, 1)):
            given = await asyncio.to_thread(rows_of, given)
        plan = await self._planned(given)
        if isinstance(plan, Problem):
            return plan
        return BatchAnswer(
            number=None,
            placed=plan.placed,
            known=plan.known,
            refused=plan.refused,
            cells=plan.cells,
            as_of=await store.head(pool),
        )

    async def take(self, job_id: str, number: int, given: Given, *, actor: str) -> BatchAnswer | Problem:
        """Raises DatabaseUnavailable; then a repeat with the same number tells what became of it."""
        services = self._services
        reason = await store.reason(services.pool, job_id)
        if reason is None:
            return Problem(code=Code.NOT_FOUND, detail="no job has this id")
        body = await asyncio.to_thread(digest, given)
        before = await store.earlier(services.pool, job_id, number)
        if before is not None:
            return await asyncio.to_thread(_replayed, before, body, given)
        batch = Batch(job_id=job_id, number=number, body=body, actor=actor, reason=reason)
        tried = given
        if isinstance(tried, Packed) and await store.any_held(services.pool, _texts(tried, SAMPLED)):
            tried = await asyncio.to_thread(rows_of, tried)
        for _ in range(TRIES_MAX):
            plan = await self._planned(tried)
            if isinstance(plan, Problem):
                return plan
            facts_ids = await self._facts_ids(plan)
            stored = await store.place(services.pool, services.clock, plan, facts_ids, batch, self._kept)
            match stored:
                case BatchAnswer():
                    CHANGES.labels("bulk").inc(stored.placed)
                    services.commits.committed(stored.as_of)
                    log.info("bulk_batch_placed", count=stored.placed, seq=stored.as_of, actor=actor)
                    return stored
                case store.Earlier():
                    return await asyncio.to_thread(_replayed, stored, body, given)
                case store.KeysMoved() if isinstance(tried, Packed):
                    tried = await asyncio.to_thread(rows_of, tried)
                case store.RulesMoved() | store.KeysMoved():
                    continue
                case _:
                    assert_never(stored)
        return Problem(code=Code.NOT_READY, detail="rules or keys change just now; repeat the batch", retry_after_s=1)

    async def _planned(self, given: Given) -> Plan | Problem:
        """Columns are decided as if nobody held their keys: who stores them finds out. Rows are decided by where their keys lead."""
        services = self._services
        rules = await services.rules.current()
        if isinstance(rules, Problem):
            return rules
        registry = await services.registry.current()
        at = today(services)
        if isinstance(given, Packed):
            ruling = Ruling(rules, registry, at)
            plan = await asyncio.to_thread(decide_free, given, ruling, draw=secrets.token_bytes)
            if plan is not None:
                return plan
            given = await asyncio.to_thread(rows_of, given)
        held = await store.held(services.pool, keys_of(given))
        decided = await asyncio.to_thread(decide, given, held, rules, registry, at, mint=mint_subject_id)
        return of_decided(decided)

    async def _facts_ids(self, plan: Plan) -> dict[Facts, int]:
        found: dict[Facts, int] = {}
        for one in plan.kinds:
            if one.facts not in found:
                found[one.facts] = await self._services.changes.facts_id(one.facts)
        return found


def _texts(packed: Packed, each: int) -> list[str]:
    """Every so manieth of its keys."""
    starts = range(0, len(packed.keys), each * KEY_BYTES)
    return [packed.keys[at : at + KEY_BYTES].decode("ascii") for at in starts]


def digest(given: Given) -> bytes:
    """What a repeat is held against."""
    if isinstance(given, Packed):
        return hashlib.sha256(b"packed\0" + msgspec.msgpack.encode(given)).digest()
    return hashlib.sha256(msgspec.json.encode(given)).digest()


def _replayed(before: store.Earlier, body: bytes, given: Given) -> BatchAnswer | Problem:
    """What the number came to. A batch may come again in the other form, and with its keys' blinding keys named that came without: by a
    newer command line."""
    if before.body == body or before.body in _other_forms(given):
        return before.answer
    return Problem(
        code=Code.IDEMPOTENCY_MISMATCH,
        detail="this batch number was used for other rows; go on with the next number, or begin a new job",
    )


def _other_forms(given: Given) -> Iterator[bytes]:
    """Digests of the same rows in every other form."""
    rows = rows_of(given) if isinstance(given, Packed) else given
    yield digest(rows)
    yield digest(tuple(_unnamed(row) for row in rows))
    with suppress(OverflowError):
        yield digest(pack(rows))


def _unnamed(row: BulkRow) -> BulkRow:
    keys = tuple(msgspec.structs.replace(key, kid=None) for key in row.keys)
    return msgspec.structs.replace(row, keys=keys)
