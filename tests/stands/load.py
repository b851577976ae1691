"""A small load for chaos: people who write and read through gateways, epochs that change meanwhile, and a sweep of every shard."""

import asyncio
import itertools
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from rich.console import Console

from foundation.clock import SystemClock
from gateway.cli.tour.people import Person, everybody
from gateway.cli.tour.report import Report
from gateway.cli.tour.stage import Answer, Stage, opened
from tests.stands.waiting import eventually

REGIONS = {"DE": "eu", "US": "us", "IN": "in"}
"""Where people of some countries have their homes; five of each are in the tour's cast."""
_CLOCK = SystemClock()


class Subject:
    """A person with a home; the writes tried for them, the epoch under which each acknowledged one was, and what was seen at each cut."""

    def __init__(self, person: Person, region: str) -> None:
        self.person = person
        self.region = region
        self.token = ""
        self.id = ""
        self.cell = ""
        self.shard = ""
        self.tried: set[str] = set()
        self.acknowledged: dict[str, int] = {}
        self.cuts: list[tuple[int, frozenset[str]]] = []
        """The fence's epoch and the labels stored, of one snapshot each: a write under an older epoch cannot come after it."""


class Asked(NamedTuple):
    """One answered request: when it was sent (monotonic), what it was, the answer's status and code, and how long it took."""

    at_s: float
    kind: str
    region: str
    status: int
    code: str | None
    ms: float


class Load:
    """Writers, readers and epoch changers over a stage. `run_while` runs them beside what breaks things."""

    def __init__(self, stage: Stage, subjects: list[Subject], *, pause_s: float = 0.0) -> None:
        self.stage = stage
        self.subjects = subjects
        self.asked: list[Asked] = []
        self.frozen_writes = 0
        self.epochs_changed = 0
        self._prefix = f"chaos {uuid.uuid4().hex[:6]}"
        self._numbers = itertools.count()
        self._pause_s = pause_s
        self._stop = asyncio.Event()

    async def run_while(self, trouble: Callable[[], Awaitable[None]], *, writers_each: int = 1) -> None:
        """Until `trouble` has passed; a fault in any part ends all of it."""
        self._stop.clear()
        async with asyncio.TaskGroup() as group:
            for subject in self.subjects:
                for _ in range(writers_each):
                    group.create_task(self._write(subject), name=f"writer {subject.region}")
            for region in sorted({subject.region for subject in self.subjects}):
                group.create_task(self._read([one for one in self.subjects if one.region == region]))
            group.create_task(self._change_epochs())
            try:
                await trouble()
            finally:
                self._stop.set()

    async def _write(self, subject: Subject) -> None:
        while not self._stop.is_set():
            await self.write(subject)
            await asyncio.sleep(self._pause_s)

    async def write(self, subject: Subject) -> Answer:
        """One new order under a label of its own; every other one states its id, the rest leave it to the service."""
        number = next(self._numbers)
        label = f"{self._prefix} {number}"
        subject.tried.add(label)
        order: dict[str, Any] = {"item": label, "quantity": 1, "total_cents": 100, "currency": "EUR"}
        if number % 2:
            order["id"] = str(uuid.uuid4())
        url = self.stage.gateway(subject.region)
        answer = await self.ask("write", subject, "POST", f"{url}/orders", json=order)
        if answer.status == 201:
            subject.acknowledged[label] = int(answer.headers["domicile-epoch"])
        return answer

    async def _read(self, subjects: list[Subject]) -> None:
        for subject in itertools.cycle(subjects):
            if self._stop.is_set():
                return
            await self.read(subject)
            await asyncio.sleep(self._pause_s)

    async def read(self, subject: Subject) -> Answer:
        return await self.ask("read", subject, "GET", f"{self.stage.gateway(subject.region)}/orders?limit=1")

    async def ask(self, kind: str, subject: Subject, method: str, url: str, json: Any = None) -> Answer:
        at_s = _CLOCK.monotonic_s()
        answer = await self.stage.ask(method, url, token=subject.token, json=json)
        code = answer.code or (answer.body or {}).get("error") if isinstance(answer.body, dict) else None
        self.asked.append(Asked(at_s, kind, subject.region, answer.status, code, answer.ms))
        return answer

    # --- epochs --------------------------------------------------------------------------------------------------------------

    async def _change_epochs(self) -> None:
        for number, subject in enumerate(itertools.cycle(self.subjects)):
            if self._stop.is_set():
                return
            await self._change_epoch(subject, freeze=number % 4 == 3)
            await asyncio.sleep(0.02)

    async def _change_epoch(self, subject: Subject, *, freeze: bool) -> None:
        """A new epoch, or a freeze and what comes after it; what cannot be done just now is left."""
        try:
            if not freeze:
                epoch = await self._order(subject, "epoch")
                if epoch is not None:
                    await self._see_fence(subject, epoch)
                return
            epoch = await self._order(subject, "freeze")
            if epoch is not None and await self._see_fence(subject, epoch):
                before = await self._labels(subject)
                await asyncio.sleep(0.05)
                self.frozen_writes += len(await self._labels(subject) - before)
        finally:
            if freeze:
                await self.unfreeze(subject)

    async def unfreeze(self, subject: Subject, *, s_max: float = 20.0) -> None:
        """Asks until it is active again: nobody is left frozen behind."""
        deadline = _CLOCK.monotonic_s() + s_max
        while _CLOCK.monotonic_s() < deadline:
            if await self._state(subject) == "active":
                return
            await self._order(subject, "unfreeze")
            await asyncio.sleep(0.05)

    async def _order(self, subject: Subject, call: str) -> int | None:
        """The new epoch, or None when the directory did not say so (it may have been done all the same)."""
        try:
            held = await self.stage.control.get(f"/v1/subjects/{subject.id}")
            if held.status_code != 200:
                return None
            body = {"epoch": held.json()["placement"]["epoch"], "reason": "chaos"}
            done = await self.stage.control.post(f"/v1/subjects/{subject.id}/{call}", json=body)
        except httpx.HTTPError:
            return None
        if done.status_code != 200:
            return None
        self.epochs_changed += 1
        return int(done.json()["placement"]["epoch"])

    async def _state(self, subject: Subject) -> str | None:
        try:
            held = await self.stage.control.get(f"/v1/subjects/{subject.id}")
        except httpx.HTTPError:
            return None
        return str(held.json()["placement"]["state"]) if held.status_code == 200 else None

    async def _see_fence(self, subject: Subject, epoch: int) -> bool:
        """Waits until the fence stands at `epoch` or higher; remembers what the shard held in that same snapshot."""
        for _ in range(200):
            found = await self._snapshot(subject)
            if found is not None and found[0] >= epoch:
                subject.cuts.append(found)
                return True
            if self._stop.is_set():
                return False
            await asyncio.sleep(0.01)
        return False

    async def _snapshot(self, subject: Subject) -> tuple[int, frozenset[str]] | None:
        query = (
            "SELECT f.epoch, (SELECT coalesce(array_agg(o.item), '{}') FROM product.orders o WHERE o.subject_id = $1::uuid)"
            " AS items FROM domicile.home f WHERE f.subject_id = $1::uuid"
        )
        try:
            rows = await self.stage.sql(self.stage.owner_env(subject.cell, subject.shard), query, subject.id)
        except Exception:  # noqa: BLE001 - the database may be what is broken just now
            return None
        return (rows[0]["epoch"], frozenset(rows[0]["items"])) if rows else None

    async def _labels(self, subject: Subject) -> frozenset[str]:
        found = await self._snapshot(subject)
        return frozenset() if found is None else found[1]

    # --- afterwards ----------------------------------------------------------------------------------------------------------

    async def until_well(self, *, s_max: float = 30.0) -> float:
        """Seconds until every subject writes and reads again. Raises TimeoutError."""
        started = _CLOCK.monotonic_s()
        async with asyncio.timeout(s_max):
            for subject in self.subjects:
                await self.unfreeze(subject)
                await eventually(lambda one=subject: self._works(one), s_max=s_max)
        return _CLOCK.monotonic_s() - started

    async def _works(self, subject: Subject) -> bool:
        return (await self.write(subject)).status == 201 and (await self.read(subject)).status == 200

    async def sweep(self) -> list[str]:
        """Every fault found in the shards, in words: empty when all promises were kept."""
        faults: list[str] = []
        by_id = {subject.id: subject for subject in self.subjects}
        seen: dict[str, Counter[str]] = {subject.id: Counter() for subject in self.subjects}
        for cell, stated in self.stage.stack.cells.items():
            for shard in stated.shards:
                env = self.stage.owner_env(cell, shard)
                for row in await self.stage.sql(env, "SELECT subject_id::text AS id, item FROM product.orders"):
                    subject = by_id.get(row["id"])
                    if subject is None or not row["item"].startswith(self._prefix):
                        continue
                    seen[subject.id][row["item"]] += 1
                    if (subject.cell, subject.shard) != (cell, shard):
                        faults.append(f"{row['item']} of {subject.id} lies in {cell}/{shard}")
                left = await self.stage.sql(env, "SELECT subject_id::text AS id FROM domicile.closing")
                faults += [f"a cut of {row['id']} in {cell}/{shard} was never ended" for row in left]
        for subject in self.subjects:
            faults += [f"{one} acknowledged, missing" for one in subject.acknowledged if not seen[subject.id][one]]
            faults += [f"{one} stored {n} times" for one, n in seen[subject.id].items() if n > 1]
            faults += [f"{one} was never sent" for one in seen[subject.id] if one not in subject.tried]
            faults += self._late_writes(subject)
        return faults

    def _late_writes(self, subject: Subject) -> list[str]:
        return [
            f"{label} of {subject.id} under epoch {epoch} after the fence stood at {fence}"
            for fence, items in subject.cuts
            for label, epoch in subject.acknowledged.items()
            if epoch < fence and label not in items
        ]

    def figures(self, since: int = 0) -> str:
        """Answers by kind, status and code, and the slowest."""
        asked = self.asked[since:]
        statuses = Counter(f"{one.kind} {one.status} {one.code or ''}".strip() for one in asked)
        slowest = max(asked, key=lambda one: one.ms, default=None)
        told = ", ".join(f"{n}x {status}" for status, n in statuses.most_common())
        return (
            f"{told}; slowest {slowest.ms:.0f} ms ({slowest.kind} {slowest.status} {slowest.code})" if slowest else ""
        )


async def signed_up(stage: Stage, per_region: int) -> list[Subject]:
    """People with homes, `per_region` in each region, side by side."""
    chosen: list[Subject] = []
    counts: Counter[str] = Counter()
    for person in everybody():
        region = REGIONS.get(person.country)
        if region is not None and counts[region] < per_region:
            counts[region] += 1
            chosen.append(Subject(person, region))
    await asyncio.gather(*(_sign_up(stage, subject) for subject in chosen))
    return chosen


async def _sign_up(stage: Stage, subject: Subject) -> None:
    subject.token = await stage.token(subject.person, subject.region)
    url = f"{stage.gateway(subject.region)}/orders/sign-up?residence={subject.person.country}"
    answer = await stage.ask("POST", url, token=subject.token, json={"name": subject.person.name})
    if answer.status not in (200, 201):
        raise RuntimeError(f"sign-up in {subject.region}: {answer.status} {answer.body}")
    subject.id, subject.cell = answer.body["subject_id"], answer.body["cell"]
    placed = await stage.control.get(f"/v1/subjects/{subject.id}")
    subject.shard = placed.json()["placement"]["shard"]


def stage_of(state: Path) -> AbstractAsyncContextManager[Stage]:
    return opened(state, Report(Console(quiet=True)))
