"""The directory while its database is away: refusals, not guesses; and back again by itself."""

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from foundation.mute import Secret
from tests.stands.directory import Running, lookup_key, running_directory
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually
from tests.stands.wire import Wire

pytestmark = pytest.mark.anyio


def through(dsn: Secret[str], wire: Wire) -> Secret[str]:
    parts = urlsplit(dsn.reveal())
    return Secret(urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{wire.port}")))


async def status(running: Running, path: str = "/readyz") -> int:
    return (await running.callers.http.get(path)).status_code


async def test_an_outage_of_the_database_is_told_and_survived(database: Secret[str], tmp_path: Path) -> None:
    parts = urlsplit(database.reveal())
    wire = Wire(str(parts.hostname), int(parts.port or 0))
    await wire.mend()
    # The workers run in a task group: one that died of the outage would end this test.
    async with running_directory(through(database, wire), ServiceIssuer(tmp_path)) as running:
        calls = running.callers
        await calls.publisher.publish()
        held = await calls.active("ada")
        await wire.cut()

        await eventually(lambda: status_is(running, 503))
        assert await status(running, "/healthz") == 200
        for answer in (
            await calls.resolver.post("/v1/resolve", {"keys": [lookup_key("ada")]}),
            await calls.operator.place("bob", wait_ms=0),
            await calls.resolver.get("/v1/feed"),
            await calls.resolver.get("/v1/rules/current"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
            assert answer.headers["retry-after"] == "1"

        await wire.mend()
        await eventually(lambda: status_is(running, 200))
        found = (await calls.resolver.post("/v1/resolve", {"keys": [lookup_key("ada"), lookup_key("bob")]})).json()
        assert found["found"] == {lookup_key("ada"): held}
        assert found["absent"] == [lookup_key("bob")]
        assert (await calls.operator.place("bob", wait_ms=0)).status_code == 202
        head = (await calls.resolver.feed(0)).head
        assert (await calls.resolver.feed(head - 1, wait_ms=1000)).events
    await wire.cut()


async def status_is(running: Running, expected: int) -> bool:
    return await status(running) == expected
