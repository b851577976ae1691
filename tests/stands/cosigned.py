"""A log that is open with the gathering of its cosignatures beside it, in times that tests can wait for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.lowlevel
import pytest

from foundation.ledger.log import Log
from foundation.ledger.witness import cosignatures, gathering, rounds
from foundation.ledger.witness.gathering import Cosigned, Gathering, Plan
from foundation.ledger.witness.quorum import Reach
from tests.stands.ledger import SIGNER, rows, unsynced
from tests.stands.witnesses import NAMES, NEAR, WIDE, Network, cosigner, plan

BOTH = plan(NEAR, WIDE)
S_MAX = 10.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)
    monkeypatch.setattr(gathering, "PAUSE_S", {Reach.NEAR: 0.01, Reach.WIDE: 0.01})
    monkeypatch.setattr(gathering, "RETRY_FIRST_S", 0.02)
    monkeypatch.setattr(gathering, "RETRY_S_MAX", 0.05)
    monkeypatch.setattr(gathering, "LOOK_S", 0.01)
    monkeypatch.setattr(rounds, "GRACE_S", S_MAX)  # who answers at all is waited for; the tests of slow ones say less


class Kept:
    """A log that is open, and the gathering beside it."""

    def __init__(self, log: Log, folder: Path, gathered: Gathering) -> None:
        self.log, self.folder, self.gathered = log, folder, gathered

    def grow(self, count: int = 3) -> int:
        """So many entries more, signed; the index of the last."""
        self.log.append({"s1": rows(self.log.seen("s1").position + 1, count)})
        self.gathered.signed(self.log.publish())
        return self.log.size - 1

    async def until(self, index: int, reach: Reach) -> Cosigned:
        found = await self.gathered.until(index, reach, within_s=S_MAX)
        assert found is not None, f"{reach} never came"
        return found


@asynccontextmanager
async def keeping(folder: Path, net: Network, stated: Plan = BOTH) -> AsyncIterator[Kept]:
    async with (
        net.client() as http,
        running(Gathering(stated, folder, SIGNER.verifier, http, net.clock), folder) as kept,
    ):
        yield kept


@asynccontextmanager
async def running(gathered: Gathering, folder: Path) -> AsyncIterator[Kept]:
    with Log(folder, SIGNER) as log:
        async with asyncio.TaskGroup() as group:
            work = group.create_task(gathered.run(log))
            await anyio.lowlevel.checkpoint()  # the work begins before the log grows, as beside a drain
            yield Kept(log, folder, gathered)
            work.cancel()


def names_in(note: bytes) -> set[str]:
    keys = [cosigner(name).verifier for name in NAMES]
    return {name.rpartition("/")[2] for name in cosignatures.verified(note, keys)}


def gauge(name: str, **labels: str) -> float:
    from prometheus_client import REGISTRY

    return REGISTRY.get_sample_value(f"domicile_ledger_{name}", labels) or 0.0
