"""Hundreds of real clients whose directory goes away and comes back, in a time that moves by steps alone: when they come back, and how much
they ask. What each of them promises under faults of the network is held by test_feed_faults.py."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from directory.client.client import Answer, Known, Unknown
from foundation.tasks import Chance
from foundation.words import LookupKey
from tests.stands.herd import Member
from tests.stands.memory_directory import MemoryDirectory, a_key
from tests.stands.simulated_network import LoopClock, StillLoop

CLIENTS = 200
MISSES = 5
STEP_S = 0.05
SLOT_S = 0.05
STALE_S_MAX = 1.5
DARK_S = 3.0
ASK_EVERY = 5
"""Steps between two times that everybody asks for everything it lacks, as requests do that are tried again."""
STEPS_MAX = 1_000


class Herd:
    def __init__(self, loop: StillLoop, chance: Chance) -> None:
        self.loop = loop
        self.directory = MemoryDirectory()
        self.known, self.missed = a_key(), [a_key() for _ in range(MISSES)]
        for key in (self.known, *self.missed):
            self.directory.place(key)
        clock = LoopClock(loop)
        self.members = [
            Member(self.directory, clock, stale_s_max=STALE_S_MAX, wait_ms=500, chance=chance) for _ in range(CLIENTS)
        ]
        self.tasks: list[asyncio.Task[Any]] = [loop.create_task(one.follower.run()) for one in self.members]
        loop.settle()
        self._asked: dict[tuple[int, LookupKey], asyncio.Task[Answer]] = {}
        self._step = 0

    def ask(self, keys: list[LookupKey]) -> None:
        """Everybody asks for what it has no good answer to, and is not asking for already."""
        for number, member in enumerate(self.members):
            for key in keys:
                task = self._asked.get((number, key))
                if task is None or (task.done() and not isinstance(task.result(), Known)):
                    self._asked[number, key] = self.loop.create_task(member.client.resolve(key))
        self.loop.settle()

    def answers(self) -> list[Answer | None]:
        return [task.result() if task.done() else None for task in self._asked.values()]

    def move(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.step()

    def step(self) -> None:
        self.loop.now_s += STEP_S
        self._step += 1
        self.loop.settle()
        for member in self.members:
            member.knows(self.known)
        if self._step % ASK_EVERY == 0:
            self.ask(self.missed)

    def cut(self) -> None:
        """Every long-poll breaks at this moment, and nobody listens any more. What changes meanwhile is heard of afterwards."""
        self.directory.down = "refused"
        self.directory.move(self.directory.keys[self.known], "us-va")
        self.loop.settle()


@contextmanager
def herd(chance: Chance) -> Iterator[Herd]:
    loop = StillLoop()
    asyncio.set_event_loop(loop)
    built = Herd(loop, chance)
    try:
        yield built
    finally:
        for task in (*built.tasks, *built._asked.values()):
            task.cancel()
        loop.run_until_complete(asyncio.gather(*built.tasks, *built._asked.values(), return_exceptions=True))
        for member in built.members:
            loop.run_until_complete(member.client.aclose())
        loop.close()
        asyncio.set_event_loop(None)


def came_back(built: Herd, since: float) -> Counter[int]:
    """First polls of each member from `since` on, by slots of time."""
    firsts = (next(at for at in member.polls if at >= since) for member in built.members)
    return Counter(int((at - since) / SLOT_S) for at in firsts)


def through_darkness(built: Herd) -> float:
    """Cut off for longer than anything may be served, then back; until everybody has all it asked for. When it came back."""
    built.ask([built.known])
    assert all(isinstance(answer, Known) for answer in built.answers())
    built.cut()
    built.move(DARK_S)
    assert all(member.knows(built.known) is None for member in built.members)
    assert sum(isinstance(answer, Unknown) for answer in built.answers()) == CLIENTS * MISSES
    built.directory.down = None
    since = built.loop.now_s
    for _ in range(STEPS_MAX):
        if all(isinstance(answer, Known) for answer in built.answers()) and _followed(built):
            return since
        built.step()
    raise AssertionError("somebody was never answered")


def _followed(built: Herd) -> bool:
    moved = built.directory.placements[built.directory.keys[built.known]]
    return all(member.knows(built.known) in (None, moved) for member in built.members) and all(
        member.follower.position == built.directory.head for member in built.members
    )


def test_a_herd_comes_back_spread_out_asks_little_and_is_answered_right() -> None:
    with herd(random.Random(7).random) as built:
        since = through_darkness(built)
        slots = came_back(built, since)
        assert max(slots.values()) < CLIENTS * 2 / 3, slots
        assert max(slots.values()) < CLIENTS / 4, slots
        for (_, key), task in built._asked.items():
            answer = task.result()
            assert isinstance(answer, Known)
            if key != built.known:
                assert answer.placement == built.directory.placements[built.directory.keys[key]]
        assert max(member.beside for member in built.members) == 1
        rounds = (DARK_S / STEP_S) / ASK_EVERY
        # a probe at most every half of the longest wait, beside those that grow to it: not one for each miss in each round
        assert max(member.asked for member in built.members) <= DARK_S / 0.5 + 6 < MISSES * rounds / 4


def test_without_chance_a_herd_comes_back_at_one_moment() -> None:
    with herd(lambda: 1.0) as built:
        assert max(came_back(built, through_darkness(built)).values()) == CLIENTS
