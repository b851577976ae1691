"""Whether somebody who asks for sign-in hints can tell members from strangers: real probes of a real handler on this machine.

10,000 probes, half of them of members, in an order of chance, over a directory that answers members' and strangers' keys after
different times. For each probe an observer has status, headers, length, region and time. Printed: how often the best guess
from the content is right beside what chance allows, and the area under the curve (0.5 = no better than chance) of a guess by time, with
its 95 % interval for chance alone; the same where the answer goes out as soon as it is known, to show that the test would see it.

Run: python -m load_tests.bench.hints [--probes N] [--answer-ms N]
"""

import argparse
import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Sequence

import httpx

from directory.placement.core import Facts, Placement, State
from foundation.blinding import Blinder, BlindingKey
from foundation.clock import SystemClock
from foundation.http import HttpClient, application
from foundation.mute import Secret
from foundation.rates import per_minute
from foundation.words import (
    CellId,
    Country,
    Epoch,
    FeedSeq,
    JurisdictionId,
    LookupKey,
    RegionId,
    ServiceId,
    ShardId,
    mint_subject_id,
)
from gateway.edge.book import Book
from gateway.edge.ports import Home, Homeless
from gateway.hints.api import PATH, Hints, times_of
from gateway.hints.limiter import Ask
from load_tests.bench._policies import policy
from routing_rules.rules import load

POLICY = policy({"records": {"eu-de": "127.0.0.1:7101", "us-va": "127.0.0.1:7102"}})
SHARES = {CellId("eu-de"): 0.7, CellId("us-va"): 0.3}
AT_ONCE = 64
FOUND_S, ABSENT_S = 0.0, 0.004
BLINDER = Blinder((BlindingKey("k1", Secret(b"k" * 32)),))


class Homes:
    """Members are found at once, strangers are looked for: what an observer would like to see."""

    def __init__(self) -> None:
        self.truth: dict[LookupKey, Placement] = {}

    async def ask(self, key: LookupKey) -> Home:
        found = self.truth.get(key)
        await asyncio.sleep(FOUND_S if found else ABSENT_S)
        return found or Homeless.NONE


class Unlimited:
    async def wait_s(self, asks: Sequence[Ask]) -> int:  # noqa: ARG002
        return 0


def placed(cell: str) -> Placement:
    region = {"eu-de": ("eu", "DE"), "us-va": ("us", "US")}[cell]
    return Placement(
        subject_id=mint_subject_id(),
        cell=CellId(cell),
        shard=ShardId("s1"),
        epoch=Epoch(1),
        state=State.ACTIVE,
        services=(ServiceId("records"),),
        facts=Facts(facts_id=1, regimes=(JurisdictionId(region[0]),), residence=Country(region[1])),
    )


async def probe(probes: int, answer_ms: int) -> list[tuple[bool, tuple[object, ...], float]]:
    """(a member?, what the answer says, seconds) of each probe."""
    clock, homes = SystemClock(), Homes()
    root = ("r1", Secret(b"r" * 32))
    book = Book(load(POLICY), FeedSeq(1), region=RegionId("eu"), root=root, clock=clock)
    hints = Hints(
        book=lambda: book,
        blinder=lambda: BLINDER,
        drawing=Blinder((BlindingKey("h1", Secret(b"h" * 32)),)),
        homes=homes,
        shares=lambda: SHARES,
        limits=Unlimited(),
        proxies=(),
        clock=clock,
        times=times_of(answer_ms) if answer_ms else times_of(0, resolve_ms=1000),
        per_address=per_minute(1),
        per_key=per_minute(1),
    )
    chance = random.Random(7)
    members = [chance.random() < 0.5 for _ in range(probes)]
    for number, member in enumerate(members):
        if member:
            cell = "eu-de" if chance.random() < SHARES[CellId("eu-de")] else "us-va"
            homes.truth[BLINDER.email(f"p{number}@example.org")[0]] = placed(cell)
    seen: list[tuple[bool, tuple[object, ...], float]] = []
    limit = asyncio.Semaphore(AT_ONCE)
    transport = httpx.ASGITransport(app=application(hints.routes(), ready=lambda: None))
    async with HttpClient(transport=transport, base_url="http://gateway") as http, asyncio.TaskGroup() as group:

        async def one(number: int) -> None:
            async with limit:
                body = {"kind": "email", "value": f"p{number}@example.org"}
                started = time.perf_counter()
                answer = await http.post(PATH, json=body)
                took = time.perf_counter() - started
            content = (answer.status_code, tuple(answer.headers.raw), len(answer.content), answer.content)
            seen.append((members[number], content, took))

        for number in range(probes):
            group.create_task(one(number))
    return seen


def content_guess(seen: list[tuple[bool, tuple[object, ...], float]]) -> tuple[float, float]:
    """How often the best guess from the content is right, and what 99.9 % of chance stays below."""
    counted = Counter((content, member) for member, content, _ in seen)
    told = {content for content, _ in counted}
    right = sum(max(counted[content, True], counted[content, False]) for content in told)
    members = sum(member for member, _, _ in seen)
    bound = max(members, len(seen) - members) + 3.29 * math.sqrt(len(seen)) / 2
    return right / len(seen), bound / len(seen)


def area(seen: list[tuple[bool, tuple[object, ...], float]]) -> tuple[float, float]:
    """Area under the curve of a guess by time (Mann and Whitney's U), and half of its 95 % interval for chance."""
    ranked = sorted(seen, key=lambda one: one[2])
    members = sum(member for member, _, _ in ranked)
    others = len(ranked) - members
    ranks = sum(rank for rank, (member, _, _) in enumerate(ranked, start=1) if member)
    u = ranks - members * (members + 1) / 2
    return u / (members * others), 1.96 * math.sqrt((len(ranked) + 1) / (12 * members * others))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probes", type=int, default=10_000)
    parser.add_argument("--answer-ms", type=int, default=250)
    asked = parser.parse_args()
    for name, answer_ms in ((f"answered after {asked.answer_ms} ms", asked.answer_ms), ("answered at once", 0)):
        seen = asyncio.run(probe(asked.probes, answer_ms))
        right, bound = content_guess(seen)
        found, half = area(seen)
        times = sorted(took for _, _, took in seen)
        print(
            f"{name:>22}: {len(seen)} probes; by content {right:.4f} right (chance: below {bound:.4f}); "
            f"by time {found:.4f} (chance: 0.5 ± {half:.4f}); p50 {times[len(times) // 2] * 1e3:.1f} ms, "
            f"p99 {times[len(times) * 99 // 100] * 1e3:.1f} ms"
        )


if __name__ == "__main__":
    main()
