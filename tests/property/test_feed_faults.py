"""The real clients (feed follower, table, second level) over a network that loses, repeats, spoils and delays, a directory that is restored
and pruned, and a Valkey that somebody spoils. Promised: whatever a client says was true at some moment within its bound, is about whom was
asked for, and is never older than what it said before.
"""

import asyncio
import hmac
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from directory.client.client import ClientLimits, DirectoryClient, Known, SecondLevelSettings, Unknown
from directory.client.second_level.carrying import Carrier
from directory.client.second_level.sealed import Seal, encode_body
from directory.client.table import ABSENT, PlacementTable
from directory.feed import client as feed_client
from directory.feed.client import FeedFollower
from directory.placement.core import FeedPage, Placement, State
from foundation.mute import Secret
from foundation.words import FeedSeq, LookupKey, SubjectId
from tests.stands.memory_directory import MemoryDirectory, placed
from tests.stands.memory_second_level import MemoryStore
from tests.stands.simulated_network import LoopClock, SimulatedNetwork, StillLoop

KEYS = [LookupKey(f"{name:_<32}") for name in ("login-a", "login-b", "mail-a", "mail-b")]
SUBJECTS = [SubjectId(f"00000000-0000-0000-0000-{number:012}") for number in range(1, 5)]
SEAL = Seal([("k1", Secret(b"k" * 32))])
FOREIGN = Seal([("k1", Secret(b"x" * 32))])
STALE_S_MAX = 10.0
ANSWER_S_MAX = 1.0
HOUR_S = 3600.0


class Gateway:
    """A client as a gateway process has it, its workers running."""

    def __init__(self, world: "World") -> None:
        clock, loop = LoopClock(world.loop), world.loop
        self.network = SimulatedNetwork(world.directory)
        self.follower = FeedFollower(self.network, clock, chance=world.chance)
        self.client = DirectoryClient(
            self.network,
            self.follower,
            clock,
            limits=ClientLimits(stale_s_max=STALE_S_MAX, entries_max=2, absences_max=2),
            second_level=SecondLevelSettings(store=world.store, seal=SEAL),
            chance=world.chance,
        )
        self.asked: list[tuple[LookupKey, asyncio.Task[Any]]] = []
        self.workers = [loop.create_task(self.follower.run()), loop.create_task(self.client.run())]
        self.epochs: dict[tuple[str | None, SubjectId], int] = {}

    async def stop(self) -> None:
        tasks = [*self.workers, *(task for _, task in self.asked)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.client.aclose()


class World:
    """A region's two gateways, their store, the directory, and what was true when."""

    def __init__(self) -> None:
        self.loop = StillLoop()
        asyncio.set_event_loop(self.loop)
        self.directory = MemoryDirectory()
        self.store = MemoryStore()
        self.chance = random.Random(1).random
        self.cut: set[str] = set()
        """Histories that a restoration cut short: until a client hears that a new one began, it may be told what was before the cut."""
        self.truth: list[tuple[float, dict[LookupKey, SubjectId], dict[SubjectId, Placement]]] = []
        self.answers = 0
        for choice in (5, 11, 17):
            self.change(choice)
        self.gateways = [Gateway(self), Gateway(self)]
        self.loop.settle()

    def close(self) -> None:
        for gateway in self.gateways:
            self.loop.run_until_complete(gateway.stop())
        self.loop.close()
        asyncio.set_event_loop(None)

    # --- what happens --------------------------------------------------------------------------------------------------------

    def change(self, choice: int) -> None:
        directory, kind, which = self.directory, choice % 6, choice // 6
        live = [one for one in SUBJECTS if one in directory.placements and not _erased(directory.placements[one])]
        unborn = [one for one in SUBJECTS if one not in directory.placements]
        free = [key for key in KEYS if key not in directory.keys]
        if kind in (0, 1, 2) and live:
            directory.move(live[which % len(live)], ("eu-de", "us-va", "in-mum")[which % 3])
        elif kind == 3 and live:
            subject_id = live[which % len(live)]
            removed = tuple(key for key, holder in directory.keys.items() if holder == subject_id)
            epoch = next(directory._epochs)
            directory.change(placed(subject_id, epoch, state=State.ERASED), removed=removed)
        elif kind == 4 and live and free:
            directory.change(placed(live[which % len(live)], next(directory._epochs)), added=(free[which % len(free)],))
        elif unborn and free:
            directory.place(*free[: 1 + which % 2], subject_id=unborn[0])
        self.remember()

    def remember(self) -> None:
        self.truth.append((self.loop.now_s, dict(self.directory.keys), dict(self.directory.placements)))

    def restore(self, back: int) -> None:
        directory = self.directory
        directory.restore(FeedSeq(max(directory.floor, directory.head - 1 - back % 4)))
        self.cut.add(directory.history)
        self.remember()

    def prune(self, back: int) -> None:
        self.directory.prune(FeedSeq(max(self.directory.floor, self.directory.head - back % 3)))

    def move_message(self, which: int, at: int, how: str, more: int = 0) -> None:
        network = self.gateways[which % 2].network
        if not network.under_way:
            return
        if how == "step":
            network.step(at)
        elif how == "lose":
            network.lose(at)
        elif how == "repeat":
            network.repeat(at)
        else:
            network.spoil(at, more)
        self.loop.settle()

    def ask(self, which: int, key: LookupKey) -> None:
        gateway = self.gateways[which % 2]
        if len(gateway.asked) < 8:
            gateway.asked.append((key, self.loop.create_task(gateway.client.resolve(key))))
        self.loop.settle()

    def wait(self, seconds: float) -> None:
        """Checked before anybody wakes: who slept an hour must not answer from what it knew."""
        self.loop.now_s += seconds
        self.check()
        self.loop.settle()

    def restart(self, which: int) -> None:
        at = which % 2
        self.loop.run_until_complete(self.gateways[at].stop())
        self.gateways[at] = Gateway(self)
        self.loop.settle()

    def everybody_is_away(self, back: int) -> None:
        """No gateway lives while the directory is restored and goes on past the numbers that it gave out; Valkey keeps what it has."""
        for gateway in self.gateways:
            self.loop.run_until_complete(gateway.stop())
        self.loop.now_s += 2 * STALE_S_MAX
        self.restore(back)
        for number in range(1 + back % 7):
            self.change(back // 7 + number)
        self.gateways = [Gateway(self), Gateway(self)]
        self.loop.settle()

    def poison(self, at: int, body: int) -> None:
        """Somebody writes what looks like an entry into Valkey, copies one, or takes one away."""
        names = sorted(self.store.values)
        if not names:
            return
        name, other = names[at % len(names)], names[body % len(names)]
        kind = body % 3
        if kind == 0:
            wrong = SUBJECTS[body % 4] if name.rpartition(":")[2] in KEYS else placed(SUBJECTS[body % 4], 10**6)
            self.store.values[name] = FOREIGN.seal(name, FeedSeq(self.directory.head), encode_body(wrong))
        elif kind == 1:
            self.store.values[name] = self.store.values[other]
        else:
            del self.store.values[name]

    # --- what must hold ------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        for gateway in self.gateways:
            assert not any(worker.done() for worker in gateway.workers), "a worker died"
            for key in KEYS:
                found = gateway.client.lookup(key)
                if found is not None:
                    self._said(gateway, key, found)
            for key, task in [one for one in gateway.asked if one[1].done()]:
                gateway.asked.remove((key, task))
                answer = task.result()
                if isinstance(answer, Known):
                    self._said(gateway, key, answer.placement)
                elif not isinstance(answer, Unknown):
                    self._said(gateway, key, answer)

    def _said(self, gateway: Gateway, key: LookupKey, found: Any) -> None:
        self.answers += 1
        states = self._since(self.loop.now_s - STALE_S_MAX - ANSWER_S_MAX)
        if found is ABSENT:
            assert any(key not in keys for keys, _ in states), f"{key} was never absent"
            return
        assert any(keys.get(key) == found.subject_id for keys, _ in states), f"{key} never led there"
        assert any(homes.get(found.subject_id) == found for _, homes in states), "no home at that time"
        if gateway.follower.history not in self.cut:
            at = (gateway.follower.history, found.subject_id)
            assert found.epoch >= gateway.epochs.get(at, 0), "older than what was said before"
            gateway.epochs[at] = found.epoch

    def _since(self, at_s: float) -> list[tuple[dict[LookupKey, SubjectId], dict[SubjectId, Placement]]]:
        """Every state that was true at some moment from then on."""
        first = max((number for number, (since, _, _) in enumerate(self.truth) if since <= at_s), default=0)
        return [(keys, homes) for _, keys, homes in self.truth[first:]]


def _erased(placement: Placement) -> bool:
    return placement.state is State.ERASED


numbers = st.integers(0, 10**6)


class FaultMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def teardown(self) -> None:
        self.world.close()

    @rule(choice=numbers)
    def the_directory_changes(self, choice: int) -> None:
        self.world.change(choice)

    @rule(back=numbers)
    def the_directory_is_restored(self, back: int) -> None:
        self.world.restore(back)

    @rule(back=numbers)
    def the_feed_is_pruned(self, back: int) -> None:
        self.world.prune(back)

    @rule(which=numbers, at=numbers, times=st.integers(1, 6))
    def messages_arrive(self, which: int, at: int, times: int) -> None:
        for _ in range(times):
            self.world.move_message(which, at, "step")

    @rule(which=numbers, at=numbers, how=st.sampled_from(["lose", "repeat", "spoil"]), more=numbers)
    def a_message_is_mistreated(self, which: int, at: int, how: str, more: int) -> None:
        self.world.move_message(which, at, how, more)

    @rule(which=numbers, key=st.sampled_from(KEYS))
    def somebody_asks(self, which: int, key: LookupKey) -> None:
        self.world.ask(which, key)

    @rule(seconds=st.sampled_from([0.05, 0.5, 2.0, 9.0, HOUR_S]))
    def time_passes(self, seconds: float) -> None:
        self.world.wait(seconds)

    @rule(which=numbers)
    def a_gateway_starts_anew(self, which: int) -> None:
        self.world.restart(which)

    @rule(back=numbers)
    def everybody_is_away(self, back: int) -> None:
        self.world.everybody_is_away(back)

    @rule(at=numbers, body=numbers)
    def valkey_is_poisoned(self, at: int, body: int) -> None:
        self.world.poison(at, body)

    @rule(down=st.booleans())
    def valkey_goes_and_comes(self, down: bool) -> None:
        self.world.store.down = down

    @invariant()
    def nothing_foreign_stale_or_older_is_said(self) -> None:
        self.world.check()


TestFaults = FaultMachine.TestCase
TestFaults.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)


def run(seed: int, steps: int) -> int:
    """The same by chance alone, with messages that mostly arrive; how much was said."""
    chance, world = random.Random(seed), World()
    number = lambda: chance.randrange(10**6)  # noqa: E731 - a word for chance
    actions = {
        lambda: world.change(number()): 6,
        lambda: world.restore(number()): 0.4,
        lambda: world.prune(number()): 0.4,
        lambda: world.move_message(number(), number(), "step"): 70,
        lambda: world.move_message(number(), number(), chance.choice(["lose", "repeat", "spoil"]), number()): 5,
        lambda: world.ask(number(), chance.choice(KEYS)): 14,
        lambda: world.wait(chance.choice([0.02, 0.3, 1.0, 2.0])): 12,
        lambda: world.wait(chance.choice([9.0, 12.0, HOUR_S])): 0.5,
        lambda: world.restart(number()): 0.6,
        lambda: world.everybody_is_away(number()): 0.3,
        lambda: world.poison(number(), number()): 1.5,
    }
    try:
        for action in chance.choices(list(actions), list(actions.values()), k=steps):
            action()
            world.check()
        return world.answers
    finally:
        world.close()


@pytest.mark.parametrize("seed", range(12))
def test_clients_say_only_what_was_true_within_the_bound(seed: int) -> None:
    assert run(seed, 1500) > 100  # it did come to the point


def _anything(page: FeedPage, after: FeedSeq) -> Any:
    return page.events


async def _proven(self: Carrier, position: Any) -> bool:
    return True


PLANTED = {
    "answers are not held against the ring": (PlacementTable, "still_true", lambda *_: True),
    "what was known before goes on after the feed is begun anew": (PlacementTable, "reset", lambda *_: None),
    "seals are not checked": (hmac, "compare_digest", lambda *_: True),
    "an hour's sleep makes nothing stale": (DirectoryClient, "_trusted", lambda _: True),
    "events out of order are taken": (feed_client, "good_prefix", _anything),
    "what Valkey kept is believed unproven": (Carrier, "_proven", _proven),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_the_simulation_catches_a_planted_mistake(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*PLANTED[mistake])
    with pytest.raises(AssertionError):
        run_seeds(60)


def run_seeds(count: int) -> None:
    for seed in range(count):
        run(seed, 1500)
