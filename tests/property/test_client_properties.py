"""The client's caches against a model directory, under every order of events, answers, evictions, crashes and steps of the second level.

The promise: nothing that is believed is older than the follower's position allows, nothing is anybody else's.
"""

import hmac
import random
from collections.abc import Coroutine, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from directory.client.known import KnownPlacements
from directory.client.second_level.filling import Filler
from directory.client.second_level.level import SecondLevel
from directory.client.second_level.sealed import (
    LEASE,
    VERSION,
    Seal,
    Undecodable,
    decode_placement,
    decode_position,
    decode_subject,
)
from directory.client.table import ABSENT, OVERTAKEN, PlacementTable
from directory.placement.core import Placement, RulesEvent, State
from foundation.clock import ManualClock
from foundation.mute import Secret
from foundation.words import FeedSeq, LookupKey, RulesDigest, SubjectId
from tests.stands.memory_directory import MemoryDirectory, placed
from tests.stands.memory_second_level import MemoryStore

KEYS = [LookupKey(f"{name:_<32}") for name in ("login-a", "login-b", "mail-a", "mail-b")]
SUBJECTS = [SubjectId(f"00000000-0000-0000-0000-{number:012}") for number in range(1, 5)]
SEAL = Seal([("k1", Secret(b"k" * 32))])

keys = st.sampled_from(KEYS)
numbers = st.integers(0, 10**6)


class History(MemoryDirectory):
    """The model: a directory that remembers every state it was ever in, by feed number."""

    def __init__(self) -> None:
        super().__init__()
        self.past: list[tuple[dict[LookupKey, SubjectId], dict[SubjectId, Placement]]] = [({}, {})]

    def change(self, placement: Placement, **keys: tuple[LookupKey, ...]) -> Placement:
        super().change(placement, **keys)
        self.past.append((dict(self.keys), dict(self.placements)))
        return placement

    def rules(self) -> None:
        self._tell(RulesEvent(seq=FeedSeq(self.head + 1), at=0.0, digest=RulesDigest("sha256:" + "0" * 64)))
        self.past.append(self.past[-1])

    def step(self, choice: int) -> None:
        """Some change, chosen by a number."""
        kind, which = choice % 6, choice // 6
        free = [key for key in KEYS if key not in self.keys]
        live = [one for one in SUBJECTS if one in self.placements and self.placements[one].state is not State.ERASED]
        unborn = [one for one in SUBJECTS if one not in self.placements]
        if kind == 0:
            self.rules()
        elif kind in (1, 2) and live:
            self.move(live[which % len(live)], ("eu-de", "us-va", "in-mum")[which % 3])
        elif kind == 3 and live:  # erased, its keys given back
            subject_id = live[which % len(live)]
            removed = tuple(key for key, holder in self.keys.items() if holder == subject_id)
            self.change(placed(subject_id, next(self._epochs), state=State.ERASED), removed=removed)
        elif kind == 4 and live and free:  # an alias more
            self.change(placed(live[which % len(live)], next(self._epochs)), added=(free[which % len(free)],))
        elif unborn and free:
            self.place(*free[: 1 + which % 2], subject_id=unborn[0])

    def leads(self, key: LookupKey, since: int) -> set[SubjectId | None]:
        """What the key led to at any time from `since` on."""
        return {keys.get(key) for keys, _ in self.past[since:]}

    def homes(self, subject_id: SubjectId, since: int) -> list[Placement | None]:
        return [placements.get(subject_id) for _, placements in self.past[since:]]

    def allows_key(self, key: LookupKey, found: Any, since: int) -> bool:
        if found is ABSENT:
            return None in self.leads(key, since)
        return found.subject_id in self.leads(key, since) and found in self.homes(found.subject_id, since)

    def allows_subject(self, subject_id: SubjectId, found: Any, since: int) -> bool:
        return (None if found is ABSENT else found) in self.homes(subject_id, since)


class TableMachine(RuleBasedStateMachine):
    """One table: answers are asked at one time and arrive at another, in any order."""

    @initialize(choices=st.lists(numbers, max_size=6))
    def begin(self, choices: list[int]) -> None:
        self.directory = History()
        for choice in choices:
            self.directory.step(choice)
        self.table = PlacementTable(entries_max=2, absences_max=2, ring_events_max=1, absent_s=10.0)
        self.table.reset(self.directory.head)
        self.now_s = 0.0
        self.under_way: list[tuple[Any, Any, int]] = []
        self.epochs: dict[SubjectId, int] = {}

    @rule(choice=numbers)
    def directory_changes(self, choice: int) -> None:
        self.directory.step(choice)

    @precondition(lambda self: self.table.position < self.directory.head)
    @rule()
    def next_event_arrives(self) -> None:
        self.table.apply(self.directory.events[self.table.position], self.now_s)

    @rule(key=keys)
    def key_is_asked(self, key: LookupKey) -> None:
        self.under_way.append((key, self.directory.resolve_now([key]), self.table.generation))

    @rule(subject_id=st.sampled_from(SUBJECTS))
    def subject_is_asked(self, subject_id: SubjectId) -> None:
        self.under_way.append((subject_id, self.directory.resolve_subjects_now([subject_id]), self.table.generation))

    @precondition(lambda self: self.under_way)
    @rule(which=numbers)
    def answer_arrives(self, which: int) -> None:
        id_, resolved, generation = self.under_way.pop(which % len(self.under_way))
        said = resolved.found.get(id_, ABSENT)
        facts = {"as_of": resolved.as_of, "generation": generation, "now_s": self.now_s}
        if id_ in KEYS:
            verdict = self.table.learn_key(id_, said, **facts)
            assert verdict is OVERTAKEN or self.directory.allows_key(id_, verdict, self.table.position)
        else:
            verdict = self.table.learn_subject(id_, said, **facts)
            assert verdict is OVERTAKEN or self.directory.allows_subject(id_, verdict, self.table.position)

    @rule(key=keys)
    def a_fresh_answer_is_always_believed(self, key: LookupKey) -> None:
        resolved = self.directory.resolve_now([key])
        said = resolved.found.get(key, ABSENT)
        verdict = self.table.learn_key(
            key, said, as_of=resolved.as_of, generation=self.table.generation, now_s=self.now_s
        )
        assert verdict == said
        assert self.table.by_key(key, self.now_s) == said

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def feed_starts_anew_at_the_head(self) -> None:
        self.table.reset(self.directory.head)
        self.epochs.clear()

    @invariant()
    def nothing_held_is_older_than_the_position_or_foreign(self) -> None:
        for key in KEYS:
            found = self.table.by_key(key, self.now_s)
            assert found is None or self.directory.allows_key(key, found, self.table.position)
        for subject_id in SUBJECTS:
            found = self.table.by_subject(subject_id, self.now_s)
            assert found is None or self.directory.allows_subject(subject_id, found, self.table.position)

    @invariant()
    def newer_knowledge_is_never_replaced_by_older(self) -> None:
        for subject_id in SUBJECTS:
            found = self.table.by_subject(subject_id, self.now_s)
            if isinstance(found, Placement):
                assert found.epoch >= self.epochs.get(subject_id, 0)
                self.epochs[subject_id] = found.epoch

    @invariant()
    def it_stays_within_its_bounds(self) -> None:
        assert self.table.entries <= 2


TestTable = TableMachine.TestCase
TestTable.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


# --- the second level, step by step ------------------------------------------------------------------------------------------


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


# --- the store of placements against a dict ----------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 11), st.integers(0, 11)), max_size=120), st.integers(1, 8))
@settings(max_examples=200, deadline=None)
def test_the_flat_store_is_a_bounded_dict(steps: list[tuple[int, int, int]], entries_max: int) -> None:
    known = KnownPlacements(entries_max=entries_max)
    leads: dict[LookupKey, SubjectId] = {}
    homes: dict[SubjectId, Placement] = {}
    for number, (kind, key_number, subject_number) in enumerate(steps):
        key = LookupKey(f"key-{key_number:_<28}")
        placement = placed(
            SubjectId(f"00000000-0000-0000-0000-{subject_number:012}"), number + 1, cell=f"c{number % 3}"
        )
        if kind == 0:
            known.put(placement, key)
            homes[placement.subject_id] = placement
            leads[key] = placement.subject_id
        elif kind == 1:
            if known.replace(placement):
                homes[placement.subject_id] = placement
            else:
                assert known.by_subject(placement.subject_id) is None
        elif kind == 2:
            known.forget_key(key)
            leads.pop(key, None)
        else:
            known.put(placement)
            homes[placement.subject_id] = placement
        assert len(known) <= entries_max
        for one, subject_id in leads.items():
            found = known.by_key(one)
            assert found is None or found == homes[subject_id]
        for subject_id, home in homes.items():
            assert known.by_subject(subject_id) in (None, home)
        assert known.by_key(LookupKey("never-put" + "_" * 23)) is None
    if len(homes) <= entries_max:
        assert all(known.by_subject(subject_id) == home for subject_id, home in homes.items())


@given(st.binary(max_size=60), st.integers(0, 2**63), st.integers(0, 200), st.integers(0, 7))
def test_a_sealed_entry_holds_only_as_it_was_sealed(body: bytes, as_of: int, at: int, bit: int) -> None:
    sealed = SEAL.seal("name", FeedSeq(as_of), body)
    opened = SEAL.open("name", sealed)
    assert opened is not None
    assert (opened.as_of, opened.body) == (as_of, body)
    assert SEAL.open("other", sealed) is None
    changed = bytearray(sealed)
    changed[at % len(sealed)] ^= 1 << bit
    assert SEAL.open("name", bytes(changed)) is None
    assert Seal([("k1", Secret(b"x" * 32))]).open("name", sealed) is None
    assert Seal([("k2", Secret(b"x" * 32)), ("k1", Secret(b"k" * 32))]).open("name", sealed) == opened
