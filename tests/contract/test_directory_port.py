"""What clients need of a directory, kept by the one in memory and the real one (its application on Postgres) alike."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest

from deploy.local.postgres import PostgresServer
from directory.client.remote import Directory, DirectoryUnavailable, HttpDirectory
from directory.placement.core import Placement, PlacementEvent, RulesEvent, State
from foundation.postgres import connect
from foundation.words import FeedSeq, LookupKey, RulesDigest, SubjectId
from routing_rules.rules import load
from tests.stands.directory import POLICY, lookup_key, running_directory
from tests.stands.memory_directory import MemoryDirectory, a_subject
from tests.stands.service_tokens import ServiceIssuer

pytestmark = pytest.mark.anyio

OTHER_POLICY = POLICY + "\n# another digest\n"


class World(Protocol):
    """A directory, and somebody who changes things in it."""

    port: Any

    async def place(self, name: str) -> SubjectId: ...

    async def change(self, subject: SubjectId) -> None: ...

    async def publish(self, policy: str) -> RulesDigest: ...


class InMemory:
    def __init__(self) -> None:
        self.port = MemoryDirectory()

    async def place(self, name: str) -> SubjectId:
        return self.port.place(lookup_key(name)).subject_id

    async def change(self, subject: SubjectId) -> None:
        self.port.move(subject, "eu-de")

    async def publish(self, policy: str) -> RulesDigest:
        return self.port.publish(policy).digest


class Real:
    def __init__(self, callers: Any, tokens: ServiceIssuer) -> None:
        self._callers = callers
        callers.http.headers.update(tokens.headers("gateway:eu", ["resolver"]))
        self.port = HttpDirectory(callers.http, resolve_s_max=5.0)

    async def place(self, name: str) -> SubjectId:
        return SubjectId((await self._callers.active(name))["subject_id"])

    async def change(self, subject: SubjectId) -> None:
        held = (await self._callers.operator.get(f"/v1/subjects/{subject}")).json()["placement"]["epoch"]
        answer = await self._callers.operator.post(f"/v1/subjects/{subject}/epoch", {"epoch": held, "reason": "test"})
        assert answer.status_code == 200, answer.text

    async def publish(self, policy: str) -> RulesDigest:
        answer = await self._callers.publisher.publish(policy)
        assert answer.status_code in (200, 201), answer.text
        return RulesDigest(answer.json()["digest"])


@pytest.fixture(scope="module")
async def real_directory(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """One real directory for the whole module; tests bring names of their own."""
    name = f"t_{secrets.token_hex(8)}"
    async with connect(postgres_server.dsn()) as admin:
        await admin.execute(f"CREATE DATABASE {name}")
    tokens = ServiceIssuer(tmp_path_factory.mktemp("tokens"))
    async with running_directory(postgres_server.dsn(name), tokens) as running:
        yield Real(running.callers, tokens)
    async with connect(postgres_server.dsn()) as admin:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def memory_directory() -> World:
    return InMemory()


@pytest.fixture(params=["memory", "real"])
async def world(request: pytest.FixtureRequest, memory_directory: World, real_directory: World) -> World:
    chosen = memory_directory if request.param == "memory" else real_directory
    await chosen.publish(POLICY)
    return chosen


@pytest.fixture
def name() -> str:
    return secrets.token_hex(8)


async def the_whole_feed(port: Directory) -> list[Any]:
    page = await port.feed(FeedSeq(0), limit=1000, wait_ms=0)
    assert page.events[-1].seq == page.head
    return list(page.events)


async def test_every_key_asked_for_is_found_or_absent(world: World, name: str) -> None:
    subject = await world.place(name)
    asked = [lookup_key(name), lookup_key("nobody")]
    answer = await world.port.resolve(asked)
    assert {key: found.subject_id for key, found in answer.found.items()} == {asked[0]: subject}
    assert (answer.found[asked[0]].state, answer.absent) == (State.ACTIVE, (asked[1],))


async def test_every_subject_asked_for_is_found_or_absent(world: World, name: str) -> None:
    subject, stranger = await world.place(name), a_subject()
    answer = await world.port.resolve_subjects([subject, stranger])
    assert (list(answer.found), answer.absent) == ([subject], (stranger,))


async def test_a_thousand_keys_are_one_question(world: World) -> None:
    asked = [LookupKey(secrets.token_urlsafe(24)) for _ in range(1000)]
    assert set((await world.port.resolve(asked)).absent) == set(asked)


async def test_the_feed_is_dense_and_an_answer_is_the_feed_up_to_its_as_of(world: World, name: str) -> None:
    subject = await world.place(name)
    await world.change(subject)
    answer = await world.port.resolve_subjects([subject])
    events = await the_whole_feed(world.port)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    replayed: dict[SubjectId, Placement] = {}
    for event in events[: answer.as_of]:
        if isinstance(event, PlacementEvent):
            replayed[event.placement.subject_id] = event.placement
    assert answer.found[subject] == replayed[subject]


async def test_a_change_takes_a_newer_epoch_and_stands_in_the_feed(world: World, name: str) -> None:
    subject = await world.place(name)
    before = (await world.port.resolve_subjects([subject])).found[subject].epoch
    await world.change(subject)
    after = (await world.port.resolve_subjects([subject])).found[subject].epoch
    assert after > before
    last = (await the_whole_feed(world.port))[-1]
    assert (last.placement.subject_id, last.placement.epoch) == (subject, after)


async def test_keys_come_with_the_event_that_adds_them(world: World, name: str) -> None:
    await world.place(name)
    added = [key for event in await the_whole_feed(world.port) for key in getattr(event, "keys_added", ())]
    assert added[-1:] == [lookup_key(name)]


async def test_a_page_is_cut_at_its_limit_and_goes_on_after_a_position(world: World, name: str) -> None:
    await world.place(name)
    await world.place(name + "2")
    whole = await the_whole_feed(world.port)
    first = await world.port.feed(FeedSeq(0), limit=2, wait_ms=0)
    rest = await world.port.feed(FeedSeq(2), limit=1000, wait_ms=0)
    assert [*first.events, *rest.events] == whole
    assert first.head == rest.head == len(whole)


async def test_a_poll_at_the_head_wakes_when_something_happens(world: World, name: str) -> None:
    head = (await the_whole_feed(world.port))[-1].seq
    async with asyncio.TaskGroup() as group:
        polling = group.create_task(world.port.feed(head, limit=10, wait_ms=20_000))
        placing = group.create_task(world.place(name))
    assert polling.result().events[0].placement.subject_id == placing.result()


async def test_a_poll_at_the_head_ends_empty_when_nothing_happens(world: World) -> None:
    head = (await the_whole_feed(world.port))[-1].seq
    page = await world.port.feed(head, limit=10, wait_ms=50)
    assert (page.events, page.head) == ((), head)


async def test_rules_are_told_by_the_feed_and_had_by_digest(world: World) -> None:
    first = await world.port.rules()
    digest = await world.publish(OTHER_POLICY)
    last = (await the_whole_feed(world.port))[-1]
    assert isinstance(last, RulesEvent)
    assert last.digest == digest == load(OTHER_POLICY).digest
    assert (await world.port.rules()).policy == OTHER_POLICY
    assert await world.port.rules(first.digest) == first


async def test_unknown_rules_are_not_to_be_had(world: World) -> None:
    with pytest.raises(DirectoryUnavailable, match="status-404"):
        await world.port.rules(RulesDigest("sha256:" + "0" * 64))
