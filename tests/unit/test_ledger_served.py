"""The calls of a cell over its log, and what says of them what they are; how bundles of entries are packed."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from cells.ledger.api import DOCUMENT, routes
from foundation.clock import ManualClock
from foundation.http import HttpClient, application
from foundation.ledger import serving
from foundation.ledger.keeping import Keeping, keeping
from foundation.ledger.port import Event
from foundation.problems import Code, ProblemError, refuse
from tests.stands.ledger import kept_by, unsynced, written

pytestmark = pytest.mark.anyio


async def test_the_document_of_a_cells_log_names_every_call_to_whoever_asks() -> None:
    served = routes(None, cast("Any", None))
    transport = httpx.ASGITransport(app=application(served, ready=lambda: None))
    async with HttpClient(transport=transport, base_url="http://cell") as http:
        answer = await http.get(DOCUMENT)
    document = answer.json()
    assert (answer.status_code, document["openapi"]) == (200, "3.1.0")
    described = {(method.upper(), path) for path, calls in document["paths"].items() for method in calls}
    given = {(method, one.path.replace(":path}", "}")) for one in served for method in one.methods or ()}
    assert described == {call for call in given if call[0] != "HEAD" and call[1] != DOCUMENT}
    assert ("GET", "/ledger/tile/{path}") in described
    assert {"Erasure", "ErasureRequest", "ReadStated", "Problem"} <= set(document["components"]["schemas"])


# --- bundles packed: https://c2sp.org/tlog-tiles, "Log entries" ------------------------------------------------------------------


class Stand:
    """A log of 300 entries, and who was recorded to read it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "log"
        self.events: list[Event] = []
        self.away = False
        written(self.folder, 300)
        self.kept: Keeping = keeping(kept_by(folder), self.record, ManualClock(), HttpClient())

    async def record(self, events: Sequence[Event]) -> None:
        if self.away:
            raise refuse(Code.NOT_READY, "away")
        self.events += events


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    unsynced(monkeypatch)
    return Stand(tmp_path)


@pytest.mark.parametrize("path", ["entries/000", "entries/001.p/44", "entries/001.p/7"])
async def test_a_bundle_is_packed_for_whoever_takes_gzip_and_is_the_same(stand: Stand, path: str) -> None:
    plain = await serving.tile(stand.kept, path, "operator:ann", "")
    packed = await serving.tile(stand.kept, path, "operator:ann", "gzip, deflate")
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    for answer in (plain, packed):
        assert answer.headers["vary"] == "accept-encoding"
        assert answer.headers["content-length"] == str(len(answer.body))
    if path == "entries/000":
        assert plain.body == (stand.folder / "tile/entries/000").read_bytes()
        assert len(packed.body) < 0.7 * len(plain.body)


async def test_hashes_are_given_out_as_they_lie(stand: Stand) -> None:
    answer = await serving.tile(stand.kept, "0/000", "operator:ann", "gzip")
    assert answer.body == (stand.folder / "tile/0/000").read_bytes()
    assert not {"content-encoding", "vary"} & set(answer.headers)
    assert stand.events == []


async def test_a_packed_bundle_is_not_given_out_before_its_reader_is_on_record(stand: Stand) -> None:
    stand.away = True
    with pytest.raises(ProblemError):
        await serving.tile(stand.kept, "entries/000", "operator:ann", "gzip")
    stand.away = False
    await serving.tile(stand.kept, "entries/000", "operator:ann", "gzip")
    assert [one.actor for one in stand.events] == ["operator:ann"]


@pytest.mark.parametrize(
    ("accepts", "takes"),
    [
        ("gzip", True), ("GZIP", True), ("br;q=1.0, gzip;q=0.8, *;q=0.1", True), ("*", True), ("deflate, gzip; q=0.001", True),
        ("", False), ("identity", False), ("br", False), ("gzip;q=0", False), ("gzip; q=0.000", False), ("gzip;\tq=0", False),
        ("*;q=0", False),
        ("*, gzip;q=0", False), ("gzipped", False),
    ],
)  # fmt: skip
def test_gzip_is_what_an_accept_encoding_asks_for(accepts: str, takes: bool) -> None:
    assert serving.takes_gzip(accepts) == takes
