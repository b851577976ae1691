"""Processes die and stand still under load: no acknowledged write is lost or doubled, none lies elsewhere or comes after its cut."""

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from gateway.cli.tour.stage import Stage
from tests.stands.load import Load, signed_up, stage_of
from tests.stands.stack import Run, stack
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

KILLED = (
    ("valkey-eu", "postgres-us-va", "orders-in-mum"),
    ("gateway-eu", "cell-us-va", "postgres-directory"),
    ("orders-eu-de", "cell-in-mum"),
    ("directory", "postgres-eu-de"),
)
"""Killed together, wave by wave; the next comes when all of the one before are back."""
FROZEN = ("cell-eu-de", "orders-us-va", "gateway-in")
FROZEN_S = 5.5
"""Longer than a guard's lease."""
BACK_S_MAX = 20.0
SLOWEST_MS_MAX = 13_000
"""A product service's bound on its cell (10 s), and some for a busy machine."""
EXPECTED = {0, 200, 201, 502, 503, 504}
"""0: the client's own connection broke (its gateway was killed). Anything else is a fault of ours."""


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[tuple[Run, Stage]]:
    with stack(tmp_path / "st") as run:
        async with stage_of(tmp_path / "st") as stage:
            yield run, stage


@pytest.mark.timeout(150)
async def test_what_was_acknowledged_stands_whatever_dies_or_stands_still(running: tuple[Run, Stage]) -> None:
    run, stage = running
    load = Load(stage, await signed_up(stage, 5), pause_s=0.05)

    async def kills() -> None:
        for wave in KILLED:
            await asyncio.gather(*(_killed(run, name) for name in wave))

    async def freezes() -> None:
        await asyncio.gather(*(_frozen(run, name) for name in FROZEN))

    await load.run_while(kills)
    await load.until_well(s_max=BACK_S_MAX)
    await load.run_while(freezes)
    await load.until_well(s_max=BACK_S_MAX)

    assert await load.sweep() == []
    assert load.frozen_writes == 0
    assert load.epochs_changed > 10
    assert sum(len(subject.cuts) for subject in load.subjects) > 5
    assert {one.status for one in load.asked} <= EXPECTED, load.figures()
    assert max(one.ms for one in load.asked) < SLOWEST_MS_MAX, load.figures()
    killed = {name for wave in KILLED for name in wave}
    restarts = {name: child["restarts"] for name, child in run.document()["processes"].items()}
    assert restarts == {name: int(name in killed) for name in restarts}
    await _planted_faults_are_found(stage, load)


async def _killed(run: Run, name: str) -> None:
    """Kills the process and waits until its successor runs."""
    before = run.child(name)
    os.kill(before["pid"], signal.SIGKILL)

    def back() -> bool:
        child = run.child(name)
        return child["restarts"] > before["restarts"] and child["state"] == "running"

    await eventually(back, s_max=BACK_S_MAX)


async def _frozen(run: Run, name: str) -> None:
    process = psutil.Process(run.child(name)["pid"])
    process.suspend()
    try:
        await asyncio.sleep(FROZEN_S)
    finally:
        process.resume()


async def _planted_faults_are_found(stage: Stage, load: Load) -> None:
    """A row lost, one doubled, one in a wrong shard, and one after its cut: the sweep names each."""
    subject = next(one for one in load.subjects if len(one.acknowledged) > 3)
    lost, doubled, strayed, late = list(subject.acknowledged)[:4]
    own = stage.owner_env(subject.cell, subject.shard)
    other = stage.owner_env(subject.cell, "s1" if subject.shard == "s2" else "s2")
    insert = (
        "INSERT INTO product.orders (subject_id, id, item, quantity, total_cents, currency)"
        " VALUES ($1::uuid, $2::uuid, $3, 1, 1, 'EUR')"
    )
    await stage.sql(own, "DELETE FROM product.orders WHERE subject_id = $1::uuid AND item = $2", subject.id, lost)
    await stage.sql(own, insert, subject.id, str(uuid.uuid4()), doubled)
    await stage.sql(other, insert, subject.id, str(uuid.uuid4()), strayed)
    subject.cuts.append((subject.acknowledged[late] + 1, frozenset(subject.acknowledged) - {late}))
    found = "\n".join(await load.sweep())
    assert f"{lost} acknowledged, missing" in found
    assert f"{doubled} stored 2 times" in found
    assert f"{strayed} of {subject.id} lies in" in found
    assert f"{late} of {subject.id} under epoch" in found
