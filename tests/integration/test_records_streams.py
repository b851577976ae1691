"""Large answers go out as they are read: whole, under the fence, bounded in number, and let go of by who leaves."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cells.records import statements, streams
from cells.records.limits import Limits
from cells.shards import reading
from deploy.local.postgres import PostgresServer
from directory.placement.core import State
from foundation.words import mint_subject_id
from tests.stands.records import RecordsStand, records_stand
from tests.stands.shard import home, place, rows
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

NUMBER = 5_000
FILL = "INSERT INTO product.notes (subject_id, rank, body) SELECT $1, n, repeat('x', n % 300) FROM generate_series(0, $2::int - 1) AS n"


@pytest.fixture(scope="module")
async def large(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RecordsStand]:
    # One subject may read as many at once here as a shard lets anybody: its own limit has tests of its own.
    limits = Limits(subject_streams=2 * reading.READERS_MAX)
    async with records_stand(postgres_server, tmp_path_factory.mktemp("large"), rows_max=4_000, limits=limits) as built:
        await rows(built.dsns, FILL, built.subject, NUMBER)
        stranger = mint_subject_id()
        await place(built.shard, stranger, 1)
        await rows(built.dsns, FILL, stranger, 50)
        yield built


async def test_a_large_answer_is_whole_and_says_which_rows_it_holds(large: RecordsStand) -> None:
    answer = await large.call("GET", "?order=rank&select=rank,body", prefer="count=exact")
    assert (answer.status_code, answer.headers["content-range"]) == (206, f"0-3999/{NUMBER}")
    assert answer.json() == [{"rank": n, "body": "x" * (n % 300)} for n in range(4_000)]
    rest = await large.call("GET", "?order=rank&select=rank&offset=4000&limit=3000")
    assert (rest.status_code, rest.headers["content-range"]) == (200, f"4000-{NUMBER - 1}/*")
    assert [row["rank"] for row in rest.json()] == list(range(4_000, NUMBER))
    assert (await large.call("GET", "?rank=lt.0")).text == "[]"
    beyond = await large.call("GET", f"?offset={NUMBER + 1}", prefer="count=exact")
    assert beyond.status_code == 416


async def test_a_large_read_is_refused_like_a_small_one(large: RecordsStand) -> None:
    stale = await large.call("GET", "", epoch=4)
    assert (stale.status_code, stale.headers["domicile-epoch"]) == (409, "5")
    # The process believes what lets the request pass; the statement itself must refuse.
    ahead = mint_subject_id()
    await rows(large.dsns, "INSERT INTO domicile.home (subject_id, epoch, state) VALUES ($1, 5, 'active')", ahead)
    large.context.homes.put(ahead, home(6))
    behind = await large.call("GET", "", subject=ahead, epoch=6)
    assert behind.headers["domicile-refusal"] == "cell_behind"
    assert (await large.call("GET", "?body=eq(any).{")).json()["code"] == "22P02"
    gone = mint_subject_id()
    large.context.homes.put(gone, home(5))
    insert = "INSERT INTO domicile.home (subject_id, epoch, state) VALUES ($1, 5, $2)"
    await rows(large.dsns, insert, gone, State.MOVED.value)
    assert (await large.call("GET", "", subject=gone)).status_code == 404


class Listener:
    """A client that takes what it is sent until told to stop taking, and may leave."""

    def __init__(self, stand: RecordsStand) -> None:
        self.taken: list[dict[str, Any]] = []
        self.takes = asyncio.Event()
        self.left = asyncio.Event()
        headers = [(name.encode(), value.encode()) for name, value in stand.headers().items()]
        self._app = stand.app
        self._scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "method": "GET", "path": "/records/notes",
            "raw_path": b"/records/notes", "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
            "server": ("cell", 80), "client": ("127.0.0.1", 1), "headers": headers,
        }  # fmt: skip
        self._asked = False

    async def listen(self) -> None:
        await self._app(self._scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.taken.append(message)
        if len(self.taken) > 1:
            await self.takes.wait()


async def test_only_some_read_at_once_and_who_leaves_lets_go(large: RecordsStand) -> None:
    listeners = [Listener(large) for _ in range(reading.READERS_MAX)]
    async with asyncio.TaskGroup() as group:
        for listener in listeners:
            group.create_task(listener.listen())
        await eventually(lambda: all(len(listener.taken) > 1 for listener in listeners))
        refused = await large.call("GET")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert (await large.call("GET", "?limit=10")).status_code == 200
        listeners[0].left.set()
        await eventually(lambda: _served(large))
        for listener in listeners[1:]:
            listener.takes.set()
    for listener in listeners[1:]:
        assert listener.taken[0]["status"] == 200
        assert listener.taken[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def _served(large: RecordsStand) -> bool:
    return (await large.call("GET", "?select=id")).status_code == 200


async def test_a_statement_that_takes_too_long_ends_with_504(
    large: RecordsStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "CREATE FUNCTION product.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(10); RETURN NEW; END $$"
    await rows(large.dsns, slow)
    await rows(
        large.dsns, "CREATE TRIGGER slow BEFORE INSERT ON product.notes FOR EACH ROW EXECUTE FUNCTION product.slow()"
    )
    answer = await large.call("POST", "", {"rank": 1_000_000})
    assert (answer.status_code, answer.json()["code"]) == (504, "57014")
    monkeypatch.setattr(streams, "STREAM_S_MAX", 0.0)
    late = await large.call("GET")
    assert (late.status_code, late.json()["code"]) == (504, "upstream_timeout")


async def test_rows_too_long_to_be_held_are_streamed_and_a_write_that_would_give_them_back_leaves_nothing(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with records_stand(postgres_server, tmp_path) as live:
        await rows(live.dsns, FILL, live.subject, 90)
        long = "UPDATE product.notes SET body = repeat('y', 300000)"
        await rows(live.dsns, long)
        held: list[int] = []
        fetch = live.shard.fetch

        async def watched(*words: Any, **more: Any) -> Any:
            found = await fetch(*words, **more)
            held.append(sum(len(row["row"] or "") for row in found))
            return found

        monkeypatch.setattr(live.shard, "fetch", watched)
        answer = await live.call("GET", "?order=rank")
        assert [row["rank"] for row in answer.json()] == list(range(90))
        assert answer.headers["content-range"] == "0-89/*"
        for prefer in ("return=representation,count=exact", "return=representation,max-affected=90"):
            changed = await live.call("PATCH", "", {"done": True}, prefer=prefer)
            assert (changed.status_code, changed.json()["code"]) == (413, "too_large")
        assert (await live.call("GET", "?done=is.true&select=id")).json() == []
        quiet = await live.call("PATCH", "", {"done": True}, prefer="return=headers-only,count=exact")
        assert (quiet.status_code, quiet.headers["content-range"]) == (204, "0-89/90")
        assert 0 < max(held) <= statements.HELD_BYTES_MAX
        single = await live.http.get(
            "/records/notes", headers=live.headers() | {"accept": "application/vnd.pgrst.object+json"}
        )
        assert (single.status_code, single.json()["details"]) == (406, "The result contains 90 rows")


async def test_no_piece_of_a_stream_is_longer_than_it_should_be_by_more_than_a_row(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    following = reading.Pieces.next

    async def watched(pieces: reading.Pieces) -> Any:
        found = await following(pieces)
        lengths.append(sum(len(row[-1] or "") for row in found))
        return found

    monkeypatch.setattr(reading.Pieces, "next", watched)
    async with records_stand(postgres_server, tmp_path) as live:
        await rows(live.dsns, FILL, live.subject, 40)
        await rows(live.dsns, "UPDATE product.notes SET body = repeat('y', 700000)")
        assert len((await live.call("GET", "?select=body")).json()) == 40
        assert len(lengths) > 10
        assert max(lengths) <= reading.PIECE_CHARACTERS + 700_100


ONE = {"accept": "application/vnd.pgrst.object+json"}
NINE = ",".join(f"{name}:extra" for name in "abcdefghi")
"""One column nine times: more than is held, of a body that is short enough to be sent."""


async def test_one_object_too_long_to_be_held_is_streamed(postgres_server: PostgresServer, tmp_path: Path) -> None:
    async with records_stand(postgres_server, tmp_path) as live:
        (long,) = await live.stored({"rank": 1, "extra": {"text": "z" * 1_000_000}})
        asked = f"/records/notes?id=eq.{long['id']}&select={NINE}"
        answer = await live.http.get(asked, headers=live.headers() | ONE)
        assert (answer.status_code, answer.headers["content-range"]) == (200, "0-0/*")
        assert answer.json() == dict.fromkeys("abcdefghi", long["extra"])
        assert len(answer.content) > statements.HELD_BYTES_MAX
        await live.stored({"rank": 2, "extra": {"text": "z" * 1_000_000}})
        several = await live.http.get(f"/records/notes?select={NINE}", headers=live.headers() | ONE)
        assert (several.status_code, several.json()["details"]) == (406, "The result contains 2 rows")


async def test_a_write_that_would_give_back_more_than_is_held_is_refused_and_leaves_nothing(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    async with records_stand(postgres_server, tmp_path) as live:
        (kept,) = await live.stored({"rank": 1, "body": "kept"})
        long = {"id": str(mint_subject_id()), "rank": 2, "extra": {"text": "z" * 1_000_000}}
        named = f"?id=eq.{kept['id']}&select={NINE}"
        everything = kept | long | {"id": kept["id"]}
        everything.pop("subject_id")
        for accept in ({}, ONE):
            who = live.headers() | accept | {"prefer": "return=representation,missing=default"}
            written = (
                await live.http.post(f"/records/notes?select={NINE}", headers=who, json=long),
                await live.http.patch(f"/records/notes{named}", headers=who, json={"extra": long["extra"]}),
                await live.http.put(f"/records/notes{named}", headers=who, json=everything),
            )
            assert [(one.status_code, one.json()["code"]) for one in written] == [(413, "too_large")] * 3
        assert (await live.call("GET", "")).json() == [kept]


async def test_a_write_gives_back_every_row_or_none_whatever_a_read_may_answer(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with records_stand(postgres_server, tmp_path, rows_max=10) as live:
        assert len(await live.stored(*({"rank": n} for n in range(30)))) == 30
        monkeypatch.setattr(statements, "WRITTEN_ROWS_MAX", 30)
        changed = await live.call("PATCH", "", {"done": True}, prefer="return=representation")
        assert (changed.status_code, len(changed.json())) == (200, 30)
        await live.stored({"rank": 30})
        many = await live.call("DELETE", "?rank=gte.0", prefer="return=representation")
        assert (many.status_code, many.json()["code"]) == (413, "too_large")
        counted = await live.call("HEAD", "", prefer="count=exact")
        assert counted.headers["content-range"].endswith("/31")
