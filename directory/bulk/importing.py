"""Taking a batch in: rules and registry of now, where its keys lead, the decision off the event loop, one transaction."""

import asyncio
import hashlib
from typing import assert_never

import msgspec

from directory.bulk import store
from directory.bulk.answers import BatchAnswer, BatchRequest, BulkRow
from directory.bulk.core import Decided, decide, keys_of
from directory.metrics import CHANGES
from directory.placement.core import Facts
from directory.placement.placing import today
from directory.services import Services
from foundation import logs
from foundation.problems import Code, Problem
from foundation.words import mint_subject_id

log = logs.get(__name__)

TRIES_MAX = 5


class Importing:
    """The use case. Everything it decides comes from `core.decide`; everything it stores goes through `store.place`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def check(self, rows: tuple[BulkRow, ...]) -> BatchAnswer | Problem:
        """What would become of the rows; nothing is stored. Raises DatabaseUnavailable."""
        decided = await self._decided(rows)
        if isinstance(decided, Problem):
            return decided
        return BatchAnswer(
            number=None,
            placed=len(decided.new),
            known=decided.known,
            refused=decided.refused,
            cells=decided.cells,
            as_of=await store.head(self._services.pool),
        )

    async def take(self, job_id: str, batch: BatchRequest, *, actor: str) -> BatchAnswer | Problem:
        """Raises DatabaseUnavailable; then a repeat with the same number tells what became of it."""
        services = self._services
        reason = await store.reason(services.pool, job_id)
        if reason is None:
            return Problem(code=Code.NOT_FOUND, detail="no job has this id")
        body = await asyncio.to_thread(_digest, batch.rows)
        before = await store.earlier(services.pool, job_id, batch.number)
        if before is not None:
            return await asyncio.to_thread(_replayed, before, body, batch.rows)
        for _ in range(TRIES_MAX):
            decided = await self._decided(batch.rows)
            if isinstance(decided, Problem):
                return decided
            facts_ids = await self._facts_ids(decided)
            stored = await store.place(
                services.pool,
                services.clock,
                decided,
                facts_ids,
                job_id=job_id,
                number=batch.number,
                body=body,
                actor=actor,
                reason=reason,
            )
            match stored:
                case BatchAnswer():
                    CHANGES.labels("bulk").inc(stored.placed)
                    services.commits.committed(stored.as_of)
                    log.info("bulk_batch_placed", count=stored.placed, seq=stored.as_of, actor=actor)
                    return stored
                case store.Earlier():
                    return await asyncio.to_thread(_replayed, stored, body, batch.rows)
                case store.RulesMoved() | store.KeysMoved():
                    continue
                case _:
                    assert_never(stored)
        return Problem(code=Code.NOT_READY, detail="rules or keys change just now; repeat the batch", retry_after_s=1)

    async def _decided(self, rows: tuple[BulkRow, ...]) -> Decided | Problem:
        services = self._services
        rules = await services.rules.current()
        if isinstance(rules, Problem):
            return rules
        registry = await services.registry.current()
        held = await store.held(services.pool, keys_of(rows))
        return await asyncio.to_thread(decide, rows, held, rules, registry, today(services), mint=mint_subject_id)

    async def _facts_ids(self, decided: Decided) -> dict[Facts, int]:
        found: dict[Facts, int] = {}
        for one in decided.new:
            if one.ruled.facts not in found:
                found[one.ruled.facts] = await self._services.changes.facts_id(one.ruled.facts)
        return found


def _replayed(before: store.Earlier, body: bytes, rows: tuple[BulkRow, ...]) -> BatchAnswer | Problem:
    """What the number came to. A batch may come again with its keys' blinding keys named that came without: by a newer command line."""
    if before.body in (body, _digest(tuple(_unnamed(row) for row in rows))):
        return before.answer
    return Problem(
        code=Code.IDEMPOTENCY_MISMATCH,
        detail="this batch number was used for other rows; go on with the next number, or begin a new job",
    )


def _unnamed(row: BulkRow) -> BulkRow:
    keys = tuple(msgspec.structs.replace(key, kid=None) for key in row.keys)
    return msgspec.structs.replace(row, keys=keys)


def _digest(rows: tuple[BulkRow, ...]) -> bytes:
    return hashlib.sha256(msgspec.json.encode(rows)).digest()
