"""Figures of the cached lookup: time at 1 k and 1 M entries, memory at 1 M. Run: python -m load_tests.bench.resolve"""

import gc
import os
import platform
import secrets
import statistics
import sys
import time
import uuid
from pathlib import Path

from directory.client.client import ClientLimits, DirectoryClient
from directory.client.remote import HttpDirectory
from directory.client.table import ABSENT
from directory.feed.client import FeedFollower
from directory.placement.core import Facts, Placement, State
from foundation.clock import SystemClock
from foundation.http import HttpClient
from foundation.words import CellId, Country, Epoch, FeedSeq, JurisdictionId, LookupKey, ServiceId, ShardId, SubjectId

BATCH = 200
BATCHES = 400


def filled(entries: int) -> tuple[DirectoryClient, list[LookupKey]]:
    """A client that knows `entries` subjects with a key each, and a sample of the keys."""
    clock = SystemClock()
    directory = HttpDirectory(HttpClient())
    follower = FeedFollower(directory, clock)
    client = DirectoryClient(
        directory, follower, clock, limits=ClientLimits(stale_s_max=3600.0, entries_max=max(entries, 1000))
    )
    client.table.reset(FeedSeq(1))
    follower.confirmed_at = clock.monotonic_s()
    facts = [
        Facts(facts_id=number, regimes=(JurisdictionId("eu"),), residence=Country(country))
        for number, country in enumerate(("DE", "FR", "NL", "IT"), start=1)
    ]
    every = max(1, entries // (BATCH * 100))
    sample = []
    for number in range(entries):
        key = LookupKey(secrets.token_urlsafe(24))
        placement = Placement(
            subject_id=SubjectId(str(uuid.UUID(bytes=secrets.token_bytes(16)))),
            cell=CellId(f"eu-{number % 3}"),
            shard=ShardId(f"s{number % 2}"),
            epoch=Epoch(number + 1),
            state=State.ACTIVE,
            services=(ServiceId("orders"), ServiceId("records")),
            facts=facts[number % len(facts)],
        )
        client.table.learn_key(key, placement, as_of=FeedSeq(1), generation=client.table.generation, now_s=0.0)
        if number % every == 0:
            sample.append(key)
    return client, sample


def lookup_us(client: DirectoryClient, sample: list[LookupKey]) -> tuple[float, float]:
    """(p50, p99) of the mean per lookup in batches, in microseconds. Keys are fresh strings, as blinding makes them."""
    chance = secrets.SystemRandom()
    lookup, means = client.lookup, []
    for _ in range(BATCHES):
        keys = [LookupKey(key.encode().decode()) for key in chance.choices(sample, k=BATCH)]
        started = time.perf_counter_ns()
        for key in keys:
            lookup(key)
        means.append((time.perf_counter_ns() - started) / BATCH / 1000)
    if any(client.lookup(key) in (None, ABSENT) for key in sample):
        raise SystemExit("the table lost an entry")
    return statistics.median(means), sorted(means)[int(BATCHES * 0.99)]


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> int:
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores")
    print("| entries | lookup p50 µs | p99 of batches µs | resident MB |")
    print("| ---: | ---: | ---: | ---: |")
    for entries in (1_000, 100_000, 1_000_000):
        gc.collect()
        before = resident_mb()
        client, sample = filled(entries)
        gc.collect()
        grown = resident_mb() - before
        p50, p99 = lookup_us(client, sample)
        print(f"| {entries:,} | {p50:.2f} | {p99:.2f} | {grown:.0f} |", flush=True)
        del client, sample
    return 0


if __name__ == "__main__":
    sys.exit(main())
