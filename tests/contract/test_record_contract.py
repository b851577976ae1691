"""The record-keeping port: one suite on the outbox in real Postgres and on the fake in memory."""

import datetime
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Protocol

import anyio
import asyncpg
import pytest

from foundation.ledger.outbox import PostgresOutbox
from foundation.ledger.port import Event, Kind, Record
from foundation.mute import Secret
from foundation.postgres import Pool, pool
from tests.stands.memory_record import MemoryRecord
from tests.stands.outbox import outbox_table

pytestmark = pytest.mark.anyio

SUBJECT = "0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77"


class RolledBack(Exception):
    """Raised inside a transaction to end it without a commit."""


class BackEnd(Protocol):
    """A record keeper with what a test needs around it: transactions that commit on a clean exit, and what was kept, in order."""

    @property
    def record(self) -> Record[Any]: ...

    def transaction(self) -> AbstractAsyncContextManager[Any]: ...

    async def kept(self) -> list[Event]: ...


class InMemory:
    def __init__(self) -> None:
        self.record = MemoryRecord()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[list[Event]]:
        tx: list[Event] = []
        yield tx
        self.record.commit(tx)

    async def kept(self) -> list[Event]:
        return self.record.events


class InPostgres:
    def __init__(self, connections: Pool) -> None:
        self.record = PostgresOutbox("domicile")
        self._connections = connections

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self._connections.acquire() as connection, connection.transaction():
            yield connection

    async def kept(self) -> list[Event]:
        rows = await self._connections.fetch(
            "SELECT id, at, kind, actor, subject_id, details FROM domicile.outbox ORDER BY position"
        )
        return [
            Event(
                id=row["id"],
                at=row["at"].timestamp(),
                kind=Kind(row["kind"]),
                actor=row["actor"],
                subject_id=None if row["subject_id"] is None else str(row["subject_id"]),
                details=json.loads(row["details"]),
            )
            for row in rows
        ]


@asynccontextmanager
async def in_postgres(dsn: Secret[str]) -> AsyncIterator[InPostgres]:
    async with pool(dsn, size_max=4) as connections:
        await connections.execute("CREATE SCHEMA domicile")
        await connections.execute(outbox_table("domicile"))
        yield InPostgres(connections)


def event(name: str, **changes: object) -> Event:
    fields: dict[str, object] = {"id": name, "at": 1_800_000_000.25, "kind": Kind.PLACEMENT, "actor": "cell:eu-de"}
    return Event(**(fields | changes))  # type: ignore[arg-type]


class RecordContract:
    """What every back end promises."""

    async def test_an_event_is_kept_as_it_was_given(self, back_end: BackEnd) -> None:
        details = {"from": None, "to": ["eu-de", 1, 2.5, True], "nested": {"ü": "“quoted”", "empty": {}}}
        whole = event("one", kind=Kind.CROSSING, subject_id=SUBJECT, details=details)
        async with back_end.transaction() as tx:
            await back_end.record.append(tx, whole)
        assert await back_end.kept() == [whole]

    async def test_an_event_without_subject_and_details_is_kept_so(self, back_end: BackEnd) -> None:
        async with back_end.transaction() as tx:
            await back_end.record.append(tx, event("one"))
        (kept,) = await back_end.kept()
        assert (kept.subject_id, kept.details) == (None, {})

    async def test_each_kind_of_event_can_be_kept(self, back_end: BackEnd) -> None:
        async with back_end.transaction() as tx:
            for kind in Kind:
                await back_end.record.append(tx, event(f"of-{kind}", kind=kind))
        assert [one.kind for one in await back_end.kept()] == list(Kind)

    async def test_events_of_a_transaction_keep_their_order(self, back_end: BackEnd) -> None:
        names = [f"event-{n}" for n in (3, 1, 2)]
        async with back_end.transaction() as tx:
            for name in names:
                await back_end.record.append(tx, event(name))
        assert [one.id for one in await back_end.kept()] == names

    async def test_nothing_is_kept_before_the_commit(self, back_end: BackEnd) -> None:
        async with back_end.transaction() as tx:
            await back_end.record.append(tx, event("one"))
            assert await back_end.kept() == []
        assert len(await back_end.kept()) == 1

    async def test_an_event_is_gone_with_its_transaction(self, back_end: BackEnd) -> None:
        with suppress(RolledBack):
            async with back_end.transaction() as tx:
                await back_end.record.append(tx, event("one"))
                raise RolledBack
        assert await back_end.kept() == []

    async def test_an_id_is_kept_once_and_the_first_stands(self, back_end: BackEnd) -> None:
        async with back_end.transaction() as tx:
            await back_end.record.append(tx, event("one", actor="operator:first"))
            await back_end.record.append(tx, event("one", actor="operator:second"))
        async with back_end.transaction() as tx:
            await back_end.record.append(tx, event("one", actor="operator:third"))
            await back_end.record.append(tx, event("two"))
        assert [(one.id, one.actor) for one in await back_end.kept()] == [
            ("one", "operator:first"),
            ("two", "cell:eu-de"),
        ]

    async def test_an_id_whose_transaction_was_rolled_back_can_be_kept_later(self, back_end: BackEnd) -> None:
        with suppress(RolledBack):
            async with back_end.transaction() as tx:
                await back_end.record.append(tx, event("one"))
                raise RolledBack
        async with back_end.transaction() as tx:
            await back_end.record.append(tx, event("one"))
        assert [one.id for one in await back_end.kept()] == ["one"]

    async def test_an_id_from_many_transactions_at_once_is_kept_once(self, back_end: BackEnd) -> None:
        async def keep(actor: str) -> None:
            async with back_end.transaction() as tx:
                await back_end.record.append(tx, event("one", actor=actor))
                await back_end.record.append(tx, event(f"of-{actor}", actor=actor))

        actors = [f"gateway:r{n}" for n in range(8)]
        async with anyio.create_task_group() as group:
            for actor in actors:
                group.start_soon(keep, actor)
        ids = [one.id for one in await back_end.kept()]
        assert sorted(ids) == sorted(["one", *(f"of-{actor}" for actor in actors)])

    async def test_what_is_changed_after_the_append_does_not_change_what_is_kept(self, back_end: BackEnd) -> None:
        details: dict[str, Any] = {"reason": "as appended", "list": [1]}
        async with back_end.transaction() as tx:
            await back_end.record.append(tx, event("one", details=details))
            details["reason"] = "changed later"
            details["list"].append(2)
        (kept,) = await back_end.kept()
        assert kept.details == {"reason": "as appended", "list": [1]}

    async def test_details_that_are_no_json_are_refused_at_the_append(self, back_end: BackEnd) -> None:
        async with back_end.transaction() as tx:
            with pytest.raises(TypeError):
                await back_end.record.append(tx, event("one", details={"when": datetime.date(2026, 11, 21)}))
        assert await back_end.kept() == []


class TestInMemory(RecordContract):
    @pytest.fixture
    def back_end(self) -> BackEnd:
        return InMemory()


class TestInPostgres(RecordContract):
    @pytest.fixture
    async def back_end(self, database: Secret[str]) -> AsyncIterator[BackEnd]:
        async with in_postgres(database) as outbox:
            yield outbox


async def test_a_batch_is_kept_whole_in_order_and_each_id_once(database: Secret[str]) -> None:
    async with in_postgres(database) as outbox:
        for _ in range(2):
            async with outbox.transaction() as tx:
                await outbox.record.append_many(tx, [event(f"event-{n}") for n in range(500)])
        assert [one.id for one in await outbox.kept()] == [f"event-{n}" for n in range(500)]


async def test_a_batch_with_one_bad_event_keeps_none_of_it(database: Secret[str]) -> None:
    async with in_postgres(database) as outbox:

        async def keep() -> None:
            async with outbox.transaction() as tx:
                await outbox.record.append_many(tx, [event("good"), event("bad", subject_id="no uuid")])

        with pytest.raises(asyncpg.DataError):
            await keep()
        assert await outbox.kept() == []


def test_a_schema_that_is_no_identifier_is_refused() -> None:
    with pytest.raises(ValueError, match="identifier"):
        PostgresOutbox("domicile; DROP SCHEMA domicile")
