"""Events that come as record batches of Arrow, through the cell: what leaves, what is recorded, what is refused."""

import datetime
import hashlib
import json
import sys
from typing import Any

import pytest

from foundation.http import client
from foundation.postgres import connect
from tests.stands.cell import Stand
from tests.stands.egress_cell import PLANTED, freeze, person
from tests.stands.egress_live import events, live, recorded, shared
from tests.stands.servers import serving

__all__ = ["live", "shared"]
pytestmark = pytest.mark.anyio

AIM = {"contract": "notes", "to": "near", "purpose": "analytics"}
ARROW = "application/vnd.apache.arrow.stream"
EXTRA = {"theme": "dark", "mail": PLANTED}


async def test_events_as_record_batches_come_back_as_such_and_are_recorded(live: Stand) -> None:
    pa = pytest.importorskip("pyarrow")
    from tests.stands.arrow import stream

    ann, _ = await person(live, 1)
    ben, _ = await person(live, 2, given=False)
    claire, _ = await person(live, 3, residence="FR")
    dora, epoch = await person(live, 4)
    await freeze(live, dora, epoch)
    whose = [ann, claire, ben, dora, None, ann]
    count, due = len(whose), datetime.datetime(2026, 4, 3, 12, tzinfo=datetime.UTC)
    columns = {
        "subject_id": pa.array(whose, pa.string()),
        "rank": pa.array(range(count), pa.int32()),
        "total": pa.array([777] * count),
        "due": pa.array([due] * count, pa.timestamp("us", tz="UTC")),
        "body": pa.array([PLANTED] * count).dictionary_encode(),
        "mail": pa.array([PLANTED] * count),
        "extra": pa.array([json.dumps(EXTRA)] * count),
    }
    headers = live.service("analytics") | {"content-type": f"{ARROW}; x=y"}
    async with serving(live.cell.app) as port, client(f"http://127.0.0.1:{port}") as http:
        answer = await http.post("/cell/egress/events", params=AIM, headers=headers, content=stream(columns, 2))
        assert (answer.status_code, answer.headers["content-type"]) == (200, ARROW), answer.text
        assert answer.headers["cache-control"] == "no-store"
        reader = pa.ipc.open_stream(answer.content)
        said, rows = json.loads(reader.schema.metadata[b"domicile"]), reader.read_all().to_pylist()
        spoilt = await http.post("/cell/egress/events", params=AIM, headers=headers, content=b"x" + stream(columns))
        unaimed = await http.post("/cell/egress/events", headers=headers, content=stream(columns))
        other = headers | {"content-type": "application/json"}
        as_json = await http.post("/cell/egress/events", params=AIM, headers=other, content=stream(columns))
    assert [one.status_code for one in (spoilt, unaimed, as_json)] == [400] * 3
    assert "send what a writer of the stream format has closed" in spoilt.json()["detail"]
    event = {"total": 777, "due": due.isoformat(), "body": PLANTED, "mail": PLANTED, "extra": EXTRA}
    given = [event | {"subject_id": one, "rank": rank} for rank, one in enumerate(whose)]
    by_json = (await events(live, *given)).json()
    assert [one["rank"] for one in rows] == [0, 5, 1]
    assert [one | {"extra": json.loads(one["extra"])} for one in rows] == by_json.pop("events")
    assert {one["extra"] for one in rows} == {'{"theme":"dark"}'}
    assert PLANTED.encode() not in answer.content
    assert sum(said["stayed"].values()) == 3
    assert said | {"release": ""} == by_json | {"release": ""}
    booked = await the_event(live, said["release"])
    assert (booked["events"], booked["stayed"], booked["held"]) == (3, 3, 0)
    assert booked["payload"] == f"sha256:{hashlib.sha256(answer.content).hexdigest()}"


async def the_event(live: Stand, release: str) -> dict[str, Any]:
    """What an outbox has of it."""
    for dsns in live.dsns.values():
        async with connect(dsns.owner) as db:
            for row in await db.fetch("SELECT details::text AS details FROM domicile.outbox WHERE id = $1", release):
                found: dict[str, Any] = json.loads(row["details"])
                return found
    raise LookupError(release)


async def test_without_pyarrow_record_batches_are_refused_and_json_is_not(
    live: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, _ = await person(live, 1)
    monkeypatch.setitem(sys.modules, "cells.egress.batches", None)
    headers = live.service("analytics") | {"content-type": ARROW}
    answer = await live.call("POST", "/cell/egress/events", headers, params=AIM, content=b"x")
    assert (answer.status_code, "no pyarrow and reads no Arrow; send JSON" in answer.text) == (400, True)
    assert (await events(live, {"subject_id": ann, "rank": 1})).status_code == 200


async def test_record_batches_for_what_nobody_declared_are_refused(live: Stand) -> None:
    pa = pytest.importorskip("pyarrow")
    from tests.stands.arrow import stream

    ann, _ = await person(live, 1)
    raw = stream({"subject_id": pa.array([ann]), "rank": pa.array([1])})

    async def status(service: str = "analytics", content: bytes = raw, **change: str) -> int:
        headers = live.service(service) | {"content-type": ARROW}
        answer = await live.call("POST", "/cell/egress/events", headers, params=AIM | change, content=content)
        return answer.status_code

    before = await recorded(live)
    assert await status(service="orders") == await status(contract="none") == 403
    assert await status(to="nowhere") == await status(purpose="sale") == 451
    assert await status(content=b"") == await status(content=raw[:-1]) == await status(more="x") == 400
    assert await status(content=b"x" * ((4 << 20) + 1)) == 413
    assert await recorded(live) == before
    assert await status() == 200
