"""Whatever callers do at once: the feed replayed is the directory, and no answer was older or newer than it said."""

import asyncio
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from directory.placement.core import FeedEvent, Placement, PlacementEvent, Resolved
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.words import FeedSeq, LookupKey, SubjectId
from tests.stands.directory import Callers, lookup_key, running_directory
from tests.stands.service_tokens import ServiceIssuer

pytestmark = pytest.mark.anyio

NAMES = [f"n{n}" for n in range(6)]
KEYS = [lookup_key(name) for name in NAMES]


class Model:
    """The directory as a follower of its feed knows it."""

    def __init__(self) -> None:
        self.placements: dict[SubjectId, Placement] = {}
        self.keys: dict[LookupKey, SubjectId] = {}

    def apply(self, event: FeedEvent) -> None:
        if not isinstance(event, PlacementEvent):
            return
        new = event.placement
        old = self.placements.get(new.subject_id)
        assert old is None or new.epoch >= old.epoch, "an epoch went back"
        assert old is None or new.epoch > old.epoch or (old.state, new.state) == ("reserved", "active")
        for key in event.keys_added:
            assert key not in self.keys, "a key was given twice"
            self.keys[key] = new.subject_id
        for key in event.keys_removed:
            assert self.keys.pop(key) == new.subject_id
        self.placements[new.subject_id] = new

    def resolved(self, seq: FeedSeq) -> Resolved:
        found = {key: self.placements[self.keys[key]] for key in KEYS if key in self.keys}
        return Resolved(as_of=seq, found=found, absent=tuple(key for key in KEYS if key not in found))


async def act(calls: Callers, chance: random.Random, known: list[dict[str, Any]], answers: list[Resolved]) -> None:
    """One random call; refusals are as good as successes, faults are not."""
    what = chance.choice(["place", "place", "ack", "ack", "freeze", "unfreeze", "epoch", "resolve", "resolve"])
    if what == "place":
        keys = [{"kind": "login", "key": key} for key in chance.sample(KEYS, chance.choice([1, 2]))]
        answer = await calls.operator.place("", keys=keys)
    elif what == "resolve" or not known:
        answer = await calls.resolver.post("/v1/resolve", {"keys": KEYS})
        answers.append(msgspec.json.decode(answer.content, type=Resolved))
    else:
        held = chance.choice(known[-8:])
        body = {"epoch": held["epoch"]} | ({} if what == "ack" else {"reason": "random"})
        caller = calls.cell if what == "ack" else calls.operator
        answer = await caller.post(f"/v1/subjects/{held['subject_id']}/{what}", body)
    assert answer.status_code in (200, 202, 404, 409, 412), answer.text
    if answer.status_code < 300 and "placement" in answer.json():
        known.append(answer.json()["placement"])


@pytest.mark.parametrize("seed", range(3))
async def test_every_answer_is_the_feed_replayed_to_its_number(
    database: Secret[str], tmp_path: Path, seed: int
) -> None:
    tokens = ServiceIssuer(tmp_path)
    fast = {"reservation_s": 0.05, "expiry_check_s": 0.01}
    async with running_directory(database, tokens, **fast) as one, running_directory(database, tokens, **fast) as two:
        await one.callers.publisher.publish()
        known: list[dict[str, Any]] = []
        answers: list[Resolved] = []

        async def client(number: int) -> None:
            chance = random.Random(seed * 100 + number)
            for _ in range(40):
                await act((one, two)[number % 2].callers, chance, known, answers)

        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(client(number))
        last = msgspec.json.decode(
            (await two.callers.resolver.post("/v1/resolve", {"keys": KEYS})).content, type=Resolved
        )
        events = (await one.callers.resolver.feed(0)).events

    by_number: dict[int, list[Resolved]] = {}
    for answer in [*answers, last]:
        by_number.setdefault(answer.as_of, []).append(answer)
    model, checked = Model(), 0
    for event in events:
        model.apply(event)
        for answer in by_number.get(event.seq, []):
            expected = model.resolved(event.seq)
            assert (answer.found, set(answer.absent)) == (expected.found, set(expected.absent))
            checked += 1
    assert checked == len(answers) + 1 > 20
    await histories_agree(database, events)


async def histories_agree(database: Secret[str], events: tuple[FeedEvent, ...]) -> None:
    """Each subject's history is its events, numbered without gaps, and the outbox holds each change once."""
    async with connect(database) as db:
        rows = await db.fetch(
            "SELECT subject_id::text AS id, number, to_state, epoch FROM directory.entry ORDER BY subject_id, number"
        )
        recorded = await db.fetchval("SELECT count(*) FROM directory.outbox WHERE kind <> 'sign_in'")
    told: dict[str, list[tuple[str, int]]] = {}
    for event in events:
        if isinstance(event, PlacementEvent):
            told.setdefault(event.placement.subject_id, []).append((event.placement.state.value, event.placement.epoch))
    kept: dict[str, list[tuple[str, int]]] = {}
    for row in rows:
        assert row["number"] == len(kept.setdefault(row["id"], [])) + 1
        kept[row["id"]].append((row["to_state"], row["epoch"]))
    # Reservations may expire between the page and this look.
    for subject_id, changes in told.items():
        assert kept[subject_id][: len(changes)] == changes
    assert recorded >= len(events)
