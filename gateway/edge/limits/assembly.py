"""Puts the limits together from settings; opens the connection to the region's buckets where there is a limit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from foundation.clock import Clock
from foundation.mute import Secret
from foundation.settings import SettingsError
from foundation.tasks import Worker
from gateway.edge.limits.callers import Callers
from gateway.edge.limits.core import terms_of
from gateway.edge.limits.gate import ACTOR, ADDRESS, SUBJECT, Gate
from gateway.edge.limits.region import valkey_region
from gateway.edge.limits.table import Table, Wanting
from gateway.edge.limits.worker import Lessor
from gateway.identity.address import Network
from gateway.settings import Budget, Limits

PER_S = range(1, 10_001)
PARTS = range(1, 65)
BURST_MAX = 1_000_000


class Limited(msgspec.Struct, frozen=True):
    """The gate, and the worker without which each process keeps to its own part."""

    gate: Gate
    workers: dict[str, Worker]


def unlimited(clock: Clock) -> Gate:
    return Gate(Callers(()), clock, subject=None, address=None, actor=None)


def gate_of(limits: Limits, wanting: Wanting, proxies: tuple[Network, ...], clock: Clock) -> Gate:
    """Raises SettingsError."""
    if limits.parts not in PARTS:
        raise SettingsError(f"limits.parts is a number from {PARTS[0]} to {PARTS[-1]}")

    def table(kind: str, budget: Budget | None) -> Table | None:
        if budget is None:
            return None
        if budget.per_s not in PER_S or not budget.per_s <= budget.burst <= BURST_MAX:
            raise SettingsError(
                f"limits.{kind}: per_s is a number from {PER_S[0]} to {PER_S[-1]}, burst one from per_s to {BURST_MAX}"
            )
        return Table(kind, terms_of(per_s=budget.per_s, burst=budget.burst, parts=limits.parts), wanting)

    return Gate(
        Callers(proxies),
        clock,
        subject=table(SUBJECT, limits.subject),
        address=table(ADDRESS, limits.address),
        actor=table(ACTOR, limits.actor),
    )


@asynccontextmanager
async def limited(
    limits: Limits, *, valkey: Secret[str], key: Secret[bytes], proxies: tuple[Network, ...], clock: Clock
) -> AsyncIterator[Limited]:
    """`key`: what names are blinded by on their way to Valkey. Raises SettingsError."""
    wanting = Wanting()
    gate = gate_of(limits, wanting, proxies, clock)
    if (limits.subject, limits.address, limits.actor) == (None, None, None):
        yield Limited(gate, {})
        return
    async with valkey_region(valkey) as region:
        yield Limited(gate, {"limits": Lessor(region, wanting, key, clock).run})
