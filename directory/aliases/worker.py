"""Keeps claims true: leases that run out leave their claims unresolved; and what is told of the population."""

import asyncio

from directory.aliases import population
from directory.aliases.metrics import SETTLED
from directory.database import DatabaseUnavailable
from directory.services import Services
from foundation import logs
from foundation.tasks import Backoff

log = logs.get(__name__)

EXPIRY_CHECK_S = 1.0
POPULATION_S = 300.0


async def keep_claims(services: Services, *, check_s: float = EXPIRY_CHECK_S) -> None:
    """Runs for the process's life. The database's absence is waited out; anything else raises, which ends the process."""
    backoff = Backoff(first_s=check_s, max_s=max(check_s, 5.0))
    while True:
        wait_s = check_s
        try:
            await expire(services)
            backoff.reset()
        except DatabaseUnavailable as exc:
            wait_s = backoff.next_s()
            log.warning("claim_expiry_postponed", error=str(exc), wait_s=wait_s)
        await asyncio.sleep(wait_s)


async def expire(services: Services) -> int:
    """Leaves every claim unresolved whose lease ran out; how many. Raises DatabaseUnavailable."""
    count = 0
    while (done := await services.claims.expire_one()) is not None:
        services.commits.committed(done.as_of)
        SETTLED.labels("unresolved").inc()
        log.warning("claim_unresolved", cell=done.claim.cell, claim=done.claim.claim_id, seq=done.as_of)
        count += 1
    return count


async def keep_population(services: Services, *, every_s: float = POPULATION_S) -> None:
    """The same for what decoys are drawn by."""
    backoff = Backoff(first_s=1.0, max_s=30.0)
    while True:
        wait_s = every_s
        try:
            if await population.refresh(services.pool):
                log.info("population_told")
            backoff.reset()
        except DatabaseUnavailable as exc:
            wait_s = backoff.next_s()
            log.warning("population_postponed", error=str(exc), wait_s=wait_s)
        await asyncio.sleep(wait_s)
