"""Scenes of trouble: Valkey and the directory stop and come back; an epoch changes under load."""

import asyncio
import secrets
from collections import Counter
from typing import Any

from gateway.cli.tour.report import quantiles
from gateway.cli.tour.scenes import Resident
from gateway.cli.tour.stage import Answer, Stage

WRITERS = 16
WRITES_EACH = 25
EPOCH_CHANGES = 5


async def _read_all(stage: Stage, residents: list[Resident]) -> list[Answer]:
    gate = asyncio.Semaphore(12)

    async def one(resident: Resident) -> Answer:
        async with gate:
            url = f"{stage.gateway(resident.region)}/orders"
            return await stage.ask("GET", url, token=resident.token, address=resident.person.address)

    return list(await asyncio.gather(*(one(resident) for resident in residents)))


def _good(answers: list[Answer]) -> int:
    return sum(answer.status == 200 for answer in answers)


def _p50(answers: list[Answer]) -> float:
    return quantiles([answer.ms for answer in answers])[0]


async def valkey_stops(stage: Stage, residents: list[Resident]) -> None:
    """Every region's Valkey stops: slower at most, no error. Then it comes back."""
    names = [f"valkey-{region}" for region in sorted(stage.stack.regions)]
    before = await _read_all(stage, residents)
    for name in names:
        await stage.command("stack", "stop", name, stateful=True)
    try:
        during = await _read_all(stage, residents)
        stranger = await stage.ask("GET", f"{stage.gateway('eu')}/orders", token=await _stranger(stage, residents[0]))
    finally:
        for name in names:
            await stage.command("stack", "start", name, stateful=True)
    after = await _read_all(stage, residents)
    count = len(residents)
    stage.report.check(
        "with every Valkey stopped all people are served",
        _good(during) == count,
        f"{_good(during)} of {count}, p50 {_p50(before):.1f} ms before, {_p50(during):.1f} ms during",
    )
    stage.report.check(
        "and somebody unknown is told so by the directory itself",
        stranger.code == "no_home",
        f"{stranger.status} {stranger.code}",
    )
    stage.report.check("with Valkey back all people are served", _good(after) == count, f"{_good(after)} of {count}")


async def _stranger(stage: Stage, resident: Resident) -> str:
    return await stage.token(resident.person, resident.region, sub=f"tour|stranger {secrets.token_hex(4)}")


async def directory_stops(stage: Stage, residents: list[Resident]) -> None:
    """The directory stops: the known are served, the unknown refused at once. Then it comes back and places again."""
    strangers = [await _stranger(stage, residents[0]) for _ in range(4)]
    await stage.command("stack", "stop", "directory", stateful=True)
    try:
        during = await _read_all(stage, residents)
        refused = [await stage.ask("GET", f"{stage.gateway('eu')}/orders", token=token) for token in strangers]
    finally:
        await stage.command("stack", "start", "directory", stateful=True)
    count = len(residents)
    stage.report.check(
        "with the directory stopped all known people are served", _good(during) == count, f"{_good(during)} of {count}"
    )
    stage.report.check(
        "and the unknown are refused, with no default destination",
        all(answer.status == 503 and answer.code == "home_unknown" for answer in refused),
        f"{refused[-1].status} {refused[-1].code}, slowest {max(answer.ms for answer in refused):.0f} ms",
    )
    back = await _until_no_home(stage, strangers[0])
    stage.report.check(
        "the directory came back and answers again", back, "no_home is known again" if back else "still dark after 15 s"
    )
    after = await _read_all(stage, residents)
    stage.report.check("and all people are served", _good(after) == count, f"{_good(after)} of {count}")


async def _until_no_home(stage: Stage, token: str) -> bool:
    for _ in range(60):
        answer = await stage.ask("GET", f"{stage.gateway('eu')}/orders", token=token)
        if answer.code == "no_home":
            return True
        await asyncio.sleep(0.25)
    return False


async def epoch_changes_under_load(stage: Stage, resident: Resident) -> None:
    """Writers keep writing for one subject while its epoch changes; every acknowledged write is there, none under an old epoch."""
    shard = await _shard_of(stage, resident)
    env = stage.owner_env(resident.cell, shard)
    old_epoch = await _epoch(stage, resident)
    stale_before = await _stale(stage, resident)
    answers: list[Answer] = []

    async def writer(number: int) -> None:
        for turn in range(WRITES_EACH):
            order = {"item": f"load {number}.{turn}", "quantity": 1, "total_cents": 100, "currency": "EUR"}
            url = f"{stage.gateway(resident.region)}/orders"
            answers.append(await stage.ask("POST", url, token=resident.token, json=order))

    async def changer() -> int:
        changed = 0
        for _ in range(EPOCH_CHANGES):
            await asyncio.sleep(0.15)
            epoch = await _epoch(stage, resident)
            body = {"epoch": epoch, "reason": "tour: epoch change under load"}
            response = await stage.control.post(f"/v1/subjects/{resident.subject_id}/epoch", json=body)
            changed += response.status_code == 200
        return changed

    results: list[Any] = await asyncio.gather(changer(), *(writer(number) for number in range(WRITERS)))
    statuses = Counter(f"{answer.status} {answer.code or ''}".strip() for answer in answers)
    stage.report.say(
        f"answers to {len(answers)} writes: " + ", ".join(f"{n}x {status}" for status, n in sorted(statuses.items()))
    )
    stage.report.check(
        "the epoch changed under load", results[0] == EPOCH_CHANGES, f"{results[0]} of {EPOCH_CHANGES} changes"
    )
    acknowledged = {answer.body["id"] for answer in answers if answer.status == 201}
    stored = await stage.sql(
        env,
        "SELECT id::text AS id FROM product.orders WHERE subject_id = $1::uuid AND item LIKE 'load %'",
        resident.subject_id,
    )
    missing = len(acknowledged - {row["id"] for row in stored})
    stage.report.check(
        "no acknowledged write is missing", missing == 0, f"{len(acknowledged)} acknowledged, {missing} missing"
    )
    stage.report.check(
        "writers were never failed by anything but a defined refusal",
        all(answer.status in (201, 503) for answer in answers),
        dict(statuses),
    )
    stale = await _stale(stage, resident) - stale_before
    stage.report.say(
        f"late requests refused with stale_epoch inside cell {resident.cell}, and tried again by the gateway: {stale:.0f}"
    )
    await _late_writer(stage, env, resident, old_epoch)


async def _shard_of(stage: Stage, resident: Resident) -> str:
    response = await stage.control.get(f"/v1/subjects/{resident.subject_id}")
    response.raise_for_status()
    return str(response.json()["placement"]["shard"])


async def _epoch(stage: Stage, resident: Resident) -> int:
    response = await stage.control.get(f"/v1/subjects/{resident.subject_id}")
    response.raise_for_status()
    return int(response.json()["placement"]["epoch"])


async def _stale(stage: Stage, resident: Resident) -> float:
    cell = stage.stack.cells[resident.cell]
    bases = [cell.service, *cell.services.values()]
    return sum([await stage.counter(base, "domicile_refusals_total", code="stale_epoch") for base in bases])


async def _late_writer(stage: Stage, env: str, resident: Resident, old_epoch: int) -> None:
    """A product's transaction under the epoch of before, straight on the shard: the fence raises."""
    late = await stage.fenced(env, resident.subject_id, old_epoch)
    stage.report.check(
        "a late writer on the shard itself is refused by the fence", late is not None, late or "it was let through"
    )
    current = await _epoch(stage, resident)
    timely = await stage.fenced(env, resident.subject_id, current)
    stage.report.check(
        "and one under the current epoch passes", timely is None, timely or f"epoch {old_epoch} late, {current} passes"
    )
