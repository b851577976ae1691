"""What the edge keeps of heads that came before goes with the rules and with the keys that it came under, and after a while also where
nobody asks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from foundation.blinding import Blinder, BlindingKey
from foundation.http import HttpClient
from foundation.mute import Secret
from foundation.words import FeedSeq, RegionId
from gateway.edge import departures
from gateway.edge.book import Book
from gateway.edge.departures import Departures
from gateway.edge.lane import Lane
from routing_rules.rules import load
from tests.stands.edge import CLOCK, REGION_ROOT, Stand, edge, placement, policy_text, tcp
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio
ADDRESSES = {"eu-de": "127.0.0.1:1", "us-va": "127.0.0.1:2"}


def kept(at: Departures) -> tuple[int, int]:
    return len(at.familiar), len(at.exchanges.landing)


async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@contextlib.asynccontextmanager
async def familiar(folder: Path) -> AsyncIterator[tuple[Stand, Departures]]:
    """A gateway that keeps a head each way."""
    async with tcp(service) as port, edge(folder, port) as stand, HttpClient(base_url=stand.url) as http:
        stand.settle("ann", placement())
        bearer = stand.bearer("ann")
        for _ in range(3):  # the first makes a connection to the service, the second goes over it
            assert (await http.get("/orders/1", headers=bearer)).text == "ok"
        assert isinstance(stand.app, Lane)
        assert kept(stand.app.departures) == (1, 1)
        yield stand, stand.app.departures


async def test_it_goes_with_the_rules(folder: Path) -> None:
    async with familiar(folder) as (stand, at):
        rules = load(policy_text(ADDRESSES, ADDRESSES))
        stand.desk.hold(Book(rules, FeedSeq(2), region=RegionId("eu"), root=("r1", Secret(REGION_ROOT)), clock=CLOCK))
        assert kept(at) == (0, 0)


async def test_it_goes_with_the_keys(folder: Path) -> None:
    async with familiar(folder) as (stand, at):
        stand.desk.renew(Blinder((BlindingKey("b2", Secret(b"c" * 32)),)))
        assert kept(at) == (0, 0)


async def test_it_goes_where_nobody_asks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departures, "KEPT_S", 0.01)
    async with familiar(folder) as (_, at), asyncio.TaskGroup() as group:
        forgetting = group.create_task(at.forgetting())
        await eventually(lambda: kept(at) == (0, 0))
        forgetting.cancel()
