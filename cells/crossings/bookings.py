"""Bookings that arrive together share a transaction; each caller hears when its own crossing is durable, or why it is not."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import assert_never

import asyncpg

from cells.crossings import store
from cells.crossings.store import Booked, Booking, Outcome
from cells.shards.shard import LOST, Shard, unreachable
from directory.client.batching import Batcher, TooManyWaiting
from directory.placement.core import State, refusal
from foundation import logs
from foundation.problems import Code, Problem, refuse
from foundation.words import ShardId, Verb

log = logs.get(__name__)

BATCH_MAX = 100
BATCHES_MAX = 2
"""Transactions at a time on one shard: one waits for the disk while the next one fills."""
WAITING_MAX = 2_000
BOOK_S_MAX = 1.5
"""Longest wait of a caller, under the two seconds that gateways wait. Whoever is refused by it may find the crossing booked later,
never the other way round."""


class Bookings:
    """Owns the transactions under way, shard by shard."""

    def __init__(self) -> None:
        self._batchers: dict[ShardId, Batcher[Booking, Outcome]] = {}

    async def book(self, shard: Shard, booking: Booking) -> Outcome:
        """What became of it; Booked.DURABLE once its transaction has committed. Raises ProblemError when nobody can tell."""
        batcher = self._batchers.get(shard.id)
        if batcher is None:
            answer = partial(_answer, shard)
            batcher = Batcher(answer, batch_max=BATCH_MAX, batches_max=BATCHES_MAX, waiting_max=WAITING_MAX)
            self._batchers[shard.id] = batcher
        try:
            async with asyncio.timeout(BOOK_S_MAX):
                return await batcher.ask(booking)
        except TooManyWaiting as exc:
            raise refuse(Code.NOT_READY, "too many crossings wait to be booked", retry_after_s=1) from exc
        except TimeoutError as exc:
            raise refuse(Code.NOT_READY, "the crossing was not booked in time", retry_after_s=1) from exc

    async def aclose(self) -> None:
        for batcher in self._batchers.values():
            await batcher.aclose()


async def _answer(shard: Shard, bookings: list[Booking]) -> AsyncIterator[dict[Booking, Outcome]]:
    """One transaction. Raises ProblemError: whatever a shard has against a booking, nothing counts as booked."""
    try:
        outcomes = await store.book(shard.require().cell, bookings)
    except (*LOST, asyncpg.PostgresError) as exc:
        log.fault("crossings_not_booked", exc, shard=shard.id, count=len(bookings))
        raise unreachable(shard.id) from exc
    yield dict(zip(bookings, outcomes, strict=True))


def unbooked(outcome: Outcome, verb: Verb) -> Problem | None:
    """None when the crossing is booked."""
    match outcome:
        case Booked.DURABLE:
            return None
        case Booked.OTHER:
            return Problem(code=Code.CONFLICT, detail="another crossing was booked under this id")
        case Booked.NO_FENCE:
            detail = "the subject's fence does not stand here, or is just being raised"
            return Problem(code=Code.CELL_BEHIND, detail=detail, retry_after_s=1)
        case State():
            code = refusal(outcome, verb) or Code.CELL_BEHIND
            return Problem(code=code, detail=f"the subject is {outcome.value}", retry_after_s=1)
        case _:
            assert_never(outcome)
