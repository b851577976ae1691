"""Leases in the background: whatever wants one is asked for together, while the answer before is awaited the next gather."""

import asyncio
import hashlib
import random

from foundation import logs
from foundation.clock import Clock
from foundation.mute import Secret
from foundation.tasks import Backoff, Chance
from gateway.edge.limits.core import Share
from gateway.edge.limits.observed import ALONE, LEASES
from gateway.edge.limits.region import Ask, Region, RegionDown
from gateway.edge.limits.table import Table, Wanting

log = logs.get(__name__)

BATCH_MAX = 200
RETRY_S_MAX = 1.0


class Lessor:
    """`run` is a worker. While the region cannot be asked, processes go on with what they grant by themselves."""

    def __init__(
        self, region: Region, wanting: Wanting, key: Secret[bytes], clock: Clock, *, chance: Chance = random.random
    ) -> None:
        """`key`: of 16 to 64 bytes, the same at all of a region's gateways; names leave the process blinded by it."""
        self._region = region
        self._wanting = wanting
        self._key = key
        self._clock = clock
        self._backoff = Backoff(first_s=0.1, max_s=RETRY_S_MAX, chance=chance)
        self._alone = False

    async def run(self) -> None:
        while True:
            await self._wanting.wake.wait()
            if not await self.lease_some():
                await asyncio.sleep(self._backoff.next_s())

    async def lease_some(self) -> bool:
        """One batch; False when the region could not be asked."""
        asked_ms = self._now_ms()
        batch = [
            (table, share, self._ask(table, name, share, asked_ms))
            for table, name, share in self._wanting.take(BATCH_MAX)
        ]
        try:
            answers = await self._region.lease([ask for _, _, ask in batch])
        except RegionDown as exc:
            for _, share, _ in batch:
                share.unanswered()
            LEASES.labels("unanswered").inc(len(batch))
            self._is_alone(reason=str(exc))
            return False
        now_ms = self._now_ms()
        for (_, share, ask), (granted, wait_ms) in zip(batch, answers, strict=True):
            share.leased(granted, wanted=ask.wanted, told=ask.told, wait_ms=wait_ms, asked_ms=asked_ms, now_ms=now_ms)
            LEASES.labels("granted" if granted else "empty").inc()
        self._is_shared()
        return True

    def _ask(self, table: Table, name: str, share: Share, now_ms: float) -> Ask:
        return Ask(self._blinded(table.kind, name), table.terms.region, share.told, share.want(table.terms, now_ms))

    def _blinded(self, kind: str, name: str) -> str:
        """Keyed BLAKE2b-128 (RFC 7693): a reader of Valkey learns no address from it."""
        digest = hashlib.blake2b(name.encode(), key=self._key.reveal(), digest_size=16, person=b"domicile-limits")
        return f"domicile:limit:{kind}:{digest.hexdigest()}"

    def _is_alone(self, reason: str) -> None:
        if not self._alone:
            log.warning("limits_kept_alone", reason=reason)
            self._alone = True
            ALONE.set(1)

    def _is_shared(self) -> None:
        self._backoff.reset()
        if self._alone:
            log.info("limits_shared_again")
            self._alone = False
            ALONE.set(0)

    def _now_ms(self) -> float:
        return self._clock.monotonic_s() * 1_000
