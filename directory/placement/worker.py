"""Expires reservations that no cell acknowledged, and forgets old idempotency keys. Any number of processes may run it at once."""

import asyncio

from directory.database import DatabaseUnavailable
from directory.placement.api import announce
from directory.placement.transitions import Action
from directory.services import Services
from foundation import logs
from foundation.tasks import Backoff

log = logs.get(__name__)

EXPIRY_CHECK_S = 1.0
IDEMPOTENCY_KEPT_S = 86_400.0
CHECKS_PER_FORGETTING = 60


async def keep(services: Services, *, check_s: float = EXPIRY_CHECK_S) -> None:
    """Runs for the process's life. The database's absence is waited out; anything else raises, which ends the process."""
    backoff = Backoff(first_s=check_s, max_s=max(check_s, 5.0))
    checks = 0
    while True:
        wait_s = check_s
        try:
            await expire(services)
            if checks % CHECKS_PER_FORGETTING == 0:
                await services.changes.forget_idempotency_keys(IDEMPOTENCY_KEPT_S)
            checks += 1
            backoff.reset()
        except DatabaseUnavailable as exc:
            wait_s = backoff.next_s()
            log.warning("expiry_postponed", error=str(exc), wait_s=wait_s)
        await asyncio.sleep(wait_s)


async def expire(services: Services) -> int:
    """Erases every expired reservation, one transaction each; how many. Raises DatabaseUnavailable."""
    count = 0
    while (done := await services.changes.expire_one()) is not None:
        announce(services, done, Action.EXPIRE)
        count += 1
    return count
