"""Following the rules: what holds is what the directory published last, whatever goes wrong on the way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from directory.feed.client import FeedFollower
from directory.placement.core import FeedPage, RulesDocument
from directory.rules.client import PREVIOUS_KEPT, PREVIOUS_S_MAX, HeldRules, RulesFollower, RulesRefused, verified
from foundation.clock import ManualClock
from foundation.problems import Code, ProblemError
from foundation.words import FeedSeq, RulesDigest
from routing_rules.rules import load
from tests.stands.memory_directory import MemoryDirectory, a_key
from tests.stands.rules import POLICY
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

NEWER = POLICY + "# newer\n"
NEWEST = POLICY + "# newest\n"


class Following:
    """A follower of a directory in memory, its workers running."""

    def __init__(self, directory: MemoryDirectory) -> None:
        self.clock = ManualClock()
        self.held = HeldRules()
        self.feed = FeedFollower(directory, self.clock)
        self.rules = RulesFollower(directory, self.feed, self.held, self.clock)
        self.heard: list[int] = []
        self.rules.on_rules.append(lambda _, seq: self.heard.append(seq))

    def holds(self, policy: str) -> bool:
        return self.held.current is not None and self.held.current.digest == load(policy).digest

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self.feed.run()), group.create_task(self.rules.run())]
            yield
            for worker in workers:
                worker.cancel()


async def test_rules_come_at_the_start_and_then_by_the_feed() -> None:
    directory = MemoryDirectory()
    one = Following(directory)
    with pytest.raises(ProblemError, match=Code.NOT_READY):
        one.held.require()
    async with one.running():
        directory.publish(POLICY)
        await eventually(lambda: one.holds(POLICY))
        assert one.rules.first.is_set()
        directory.place(a_key())
        directory.publish(NEWER)
        await eventually(lambda: one.holds(NEWER))
        assert one.held.accepts(load(POLICY).digest, one.clock.monotonic_s())
    assert (one.held.seq, one.heard) == (3, [1, 3])


async def test_rules_published_while_it_starts_are_not_missed() -> None:
    class Slow(MemoryDirectory):
        """Its first answer about the feed takes until `gate`, and so is of after that."""

        gate = asyncio.Event()

        async def feed(self, after: FeedSeq, *, limit: int, wait_ms: int, mark: str = "") -> FeedPage:
            await self.gate.wait()
            return await super().feed(after, limit=limit, wait_ms=wait_ms, mark=mark)

    directory = Slow()
    directory.publish(POLICY)
    one = Following(directory)
    async with one.running():
        for _ in range(10):
            await asyncio.sleep(0)
        directory.publish(NEWER)
        directory.gate.set()
        await eventually(lambda: one.holds(NEWER))


async def test_rules_that_lie_about_their_digest_never_hold() -> None:
    directory = MemoryDirectory()
    directory.publish(POLICY)
    one = Following(directory)
    async with one.running():
        await eventually(lambda: one.holds(POLICY))
        true = directory.publish(NEWER)
        forged = RulesDocument(digest=true.digest, policy=NEWEST, seq=true.seq, published_at=0.0, actor="operator:test")
        directory.documents[true.digest] = forged
        await eventually(lambda: one.feed.position == true.seq)
        one.clock.advance(7.0)
        assert (one.holds(POLICY), one.rules.behind_s()) == (True, 7.0)
        directory.documents[true.digest] = true
        await eventually(lambda: one.holds(NEWER))
        assert one.rules.behind_s() == 0.0


async def test_rules_that_cannot_be_had_are_given_up_for_newer_ones() -> None:
    directory = MemoryDirectory()
    directory.publish(POLICY)
    one = Following(directory)
    async with one.running():
        await eventually(lambda: one.holds(POLICY))
        del directory.documents[directory.publish(NEWER).digest]
        await eventually(lambda: one.feed.position == 2)
        directory.publish(NEWEST)
        await eventually(lambda: one.holds(NEWEST))
    assert one.heard == [1, 3]


def _document(text: str, digest: RulesDigest | None = None) -> RulesDocument:
    stated = digest or load(text).digest
    return RulesDocument(digest=stated, policy=text, seq=FeedSeq(1), published_at=0.0, actor="operator:test")


def test_a_document_is_what_was_asked_for_or_refused() -> None:
    digest, other = load(POLICY).digest, load(NEWER).digest
    assert verified(_document(POLICY), digest).digest == digest
    for wrong, asked in ((_document(POLICY), other), (_document(POLICY, other), None)):
        with pytest.raises(RulesRefused, match="digest"):
            verified(wrong, asked)
    with pytest.raises(RulesRefused, match="policy"):
        verified(_document("nonsense", digest), None)


def test_the_previous_rules_count_for_one_decisions_lifetime() -> None:
    held = HeldRules()
    one, two = load(POLICY), load(NEWER)
    assert not held.accepts(one.digest, 0.0)
    held.take(one, FeedSeq(1), 0.0)
    held.take(one, FeedSeq(1), 1.0)
    held.take(two, FeedSeq(2), 10.0)
    assert held.accepts(two.digest, 1e9)
    assert held.accepts(one.digest, 10.0 + PREVIOUS_S_MAX - 0.1)
    assert not held.accepts(one.digest, 10.0 + PREVIOUS_S_MAX)
    held.take(one, FeedSeq(3), 20.0)
    assert held.accepts(one.digest, 1e9)


def test_how_many_previous_rules_are_remembered_is_bounded() -> None:
    held = HeldRules()
    some = [load(f"{POLICY}# {number}\n") for number in range(PREVIOUS_KEPT + 3)]
    for number, rules in enumerate(some):
        held.take(rules, FeedSeq(number + 1), 0.0)
    assert [held.accepts(rules.digest, 1.0) for rules in some[:3]] == [False, False, True]
