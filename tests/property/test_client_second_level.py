"""Two gateways and their second level under every order of steps: nothing stale is believed, and planted mistakes are caught."""

import hmac
import random
from collections.abc import Coroutine, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from directory.client.second_level.filling import Filler
from directory.client.second_level.level import SecondLevel
from directory.client.second_level.sealed import (
    LEASE,
    VERSION,
    Undecodable,
    decode_placement,
    decode_position,
    decode_subject,
)
from directory.client.table import PlacementTable
from foundation.clock import ManualClock
from foundation.words import LookupKey, SubjectId
from tests.stands.directory_history import KEYS, SEAL, History
from tests.stands.memory_second_level import MemoryStore


class Pause:
    """An await that only the simulation ends."""

    def __await__(self):
        yield


class PausingStore(MemoryStore):
    """Each primitive may wait before it takes effect, and again before its caller learns of it."""

    def __init__(self, inner: MemoryStore) -> None:
        self._inner = inner

    async def read(self, names: Sequence[str]) -> list[bytes | None]:
        values = []
        for name in names:  # in order, but not at one moment
            await Pause()
            values += await self._inner.read([name])
        return values

    async def claim(
        self, names: Sequence[str], lease: bytes, ttl_ms: int, then: str
    ) -> tuple[list[bool], bytes | None]:
        granted = []
        for name in names:
            await Pause()
            granted += (await self._inner.claim([name], lease, ttl_ms, name))[0]
        return granted, (await self.read([then]))[0]

    async def fill(self, rows: Sequence[tuple[str, bytes, int]], lease: bytes) -> list[bool]:
        done = []
        for row in rows:
            await Pause()
            done += await self._inner.fill([row], lease)
        return done

    async def amend(self, rows: Sequence[tuple[str, bytes]]) -> None:
        for row in rows:
            await Pause()
            await self._inner.amend([row])

    async def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        await Pause()
        done = await self._inner.swap(name, old, new)
        await Pause()
        return done

    async def discard(self, name: str, value: bytes) -> None:
        await Pause()
        await self._inner.discard(name, value)


class SimulatedGateway:
    """A table that follows the model directory, its second level, and the coroutines that it has under way."""

    def __init__(self, directory: History, store: MemoryStore) -> None:
        self.directory = directory
        self.follower = SimpleNamespace(
            listeners=[],
            on_start=[],
            position=directory.head,
            restored=False,
            history=directory.history,
            mark=directory.mark_of(directory.head),
        )
        self.clock = ManualClock()
        self.table = PlacementTable(entries_max=3, ring_events_max=4)
        self.table.reset(directory.head)
        self.level = SecondLevel(
            PausingStore(store),
            SEAL,
            table=self.table,
            follower=self.follower,  # type: ignore[arg-type]
            directory=directory,
            clock=self.clock,
        )
        self.under_way: list[tuple[str, Coroutine[Any, Any, Any]]] = []

    def hear(self) -> None:
        event = self.directory.events[self.table.position]
        self.table.apply(event, self.clock.monotonic_s())
        for listener in self.follower.listeners:
            listener(event)
        self.follower.position, self.follower.mark = event.seq, event.mark

    def start(self, kind: str, coroutine: Coroutine[Any, Any, Any]) -> None:
        if len(self.under_way) < 4:
            self.under_way.append((kind, coroutine))
        else:
            coroutine.close()

    def step(self, at: int) -> tuple[str, Any] | None:
        """One step of one coroutine; its kind and result, if that ended it."""
        kind, coroutine = self.under_way[at]
        try:
            coroutine.send(None)
        except StopIteration as ended:
            del self.under_way[at]
            return kind, ended.value
        return None

    def crash(self) -> None:
        for _, coroutine in self.under_way:
            coroutine.close()
        self.under_way.clear()


class Simulation:
    """Two gateways of a region over one store; one seed decides every step and how they interleave. Checked after each step."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.directory = History()
        for choice in (5, 11, 5):
            self.directory.step(choice)
        self.store = MemoryStore()
        self.gateways = [SimulatedGateway(self.directory, self.store) for _ in range(2)]
        self.answered = 0

    def run(self, steps: int) -> None:
        actions = {
            self.directory_changes: 4,
            self.a_gateway_hears: 8,
            self.a_gateway_offers: 6,
            self.a_gateway_starts: 20,
            self.something_goes_on: 80,
            self.everything_settles: 1,
            self.a_gateway_crashes: 0.3,
            self.the_store_gives_something_up: 1,
            self.a_value_is_copied: 0.3,
        }
        try:
            for action in self.chance.choices(list(actions), list(actions.values()), k=steps):
                action(self.chance.choice(self.gateways))
                self.check_store()
                self.check_tables()
        finally:
            for gateway in self.gateways:
                gateway.crash()

    def directory_changes(self, gateway: SimulatedGateway) -> None:
        self.directory.step(self.chance.randrange(10**6))

    def a_gateway_hears(self, gateway: SimulatedGateway) -> None:
        if gateway.table.position < self.directory.head:
            gateway.hear()

    def a_gateway_offers(self, gateway: SimulatedGateway) -> None:
        key = self.chance.choice(KEYS)
        resolved = self.directory.resolve_now([key])
        said = resolved.found.get(key)
        gateway.level.offer(key, None if said is None else said.subject_id, resolved.as_of)
        if said is not None:
            gateway.level.offer(said.subject_id, said, resolved.as_of)

    def a_gateway_starts(self, gateway: SimulatedGateway) -> None:
        level = gateway.level
        kind = self.chance.choice(("fill", "carry", "keys"))
        if kind == "fill":
            gateway.start(kind, level.fill())
        elif kind == "carry":
            gateway.start(kind, level.carry())
        else:
            gateway.start(kind, level.keys(self.chance.sample(KEYS, 2)))

    def something_goes_on(self, gateway: SimulatedGateway) -> None:
        if not gateway.under_way:
            return
        ended = gateway.step(self.chance.randrange(len(gateway.under_way)))
        if ended is None or ended[0] != "keys":
            return
        self.answered += len(ended[1])
        for key, found in ended[1].items():
            assert self.directory.allows_key(key, found, gateway.table.position), (key, found)

    def everything_settles(self, gateway: SimulatedGateway) -> None:
        for one in self.gateways:
            while one.under_way:
                one.step(0)

    def a_gateway_crashes(self, gateway: SimulatedGateway) -> None:
        gateway.crash()
        at = self.gateways.index(gateway)
        self.gateways[at] = SimulatedGateway(self.directory, self.store)

    def the_store_gives_something_up(self, gateway: SimulatedGateway) -> None:
        if self.store.values:
            del self.store.values[self.chance.choice(sorted(self.store.values))]

    def a_value_is_copied(self, gateway: SimulatedGateway) -> None:
        """To another name, where its seal does not hold. Never one with a lower number: whoever may write that could as well put back an
        older entry of the same name, which seals do not stop (a late carrier's amendment would then count as the newer one)."""
        names = sorted(name for name in self.store.values if not name.endswith(":position"))
        if len(names) > 1:
            to, copied = self.chance.choice(names), self.store.values[self.chance.choice(names)]
            self.store.values[to] = max(copied, self.store.values[to])

    def check_store(self) -> None:
        """Every entry that may be believed is at least as new as the position says."""
        raw = self.store.values.get("domicile:position")
        if raw is None:
            return
        position = decode_position(SEAL.open("domicile:position", raw).body)
        for name, value in self.store.values.items():
            generation, _, id_ = name.removeprefix("domicile:").partition(":")
            entry = SEAL.open(name, value)
            if generation != position.generation or value.startswith(LEASE) or entry is None:
                continue
            if id_ in KEYS:
                assert decode_subject(entry.body) in self.directory.leads(LookupKey(id_), position.applied)
            else:
                assert decode_placement(entry.body) in self.directory.homes(SubjectId(id_), position.applied)

    def check_tables(self) -> None:
        for gateway in self.gateways:
            for key in KEYS:
                found = gateway.table.by_key(key, 0.0)
                assert found is None or self.directory.allows_key(key, found, gateway.table.position)


@pytest.mark.parametrize("seed", range(20))
def test_two_gateways_believe_nothing_stale_from_their_second_level(seed: int) -> None:
    simulation = Simulation(seed)
    simulation.run(1500)
    assert simulation.answered > 0  # it did come to the point


async def _keeping_leases(self: MemoryStore, rows: Sequence[tuple[str, bytes]]) -> None:
    for name, value in rows:
        if (held := self.values.get(name)) and held.startswith(VERSION) and held < value:
            self.values[name] = value


async def _adding(self: MemoryStore, rows: Sequence[tuple[str, bytes]]) -> None:
    for name, value in rows:
        self.values[name] = max(self.values.get(name, b""), value)


async def _carrying_nothing(self: MemoryStore, rows: Sequence[tuple[str, bytes]]) -> None:
    return


async def _reading_the_position_last(self: PausingStore, names: Sequence[str]) -> list[bytes | None]:
    return (await _read(self, list(reversed(names))))[::-1]


_read = PausingStore.read
PLANTED = {
    "a fill is not held against what was carried before its lease": (Filler, "_may_fill", lambda *a: True),
    "a carried event leaves leases standing": (MemoryStore, "amend", _keeping_leases),
    "a carried event adds entries": (MemoryStore, "amend", _adding),
    "events are not carried": (MemoryStore, "amend", _carrying_nothing),
    "the position is read after the entry": (PausingStore, "read", _reading_the_position_last),
    "seals are not checked": (hmac, "compare_digest", lambda *a: True),
    "an answer is not held against the ring": (PlacementTable, "still_true", lambda *a: True),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_the_simulation_catches_a_planted_mistake(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*PLANTED[mistake])
    with pytest.raises((AssertionError, Undecodable)):
        run_seeds(60)


def run_seeds(count: int) -> None:
    for seed in range(count):
        Simulation(seed).run(1500)
