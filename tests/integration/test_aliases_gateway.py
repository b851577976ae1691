"""Sign-in hints and a rotation of the blinding key, at a whole gateway over the real directory and a real Valkey."""

import asyncio
import os
from pathlib import Path

import pytest

from deploy.local.valkey import ValkeyServer
from foundation.mute import Secret
from foundation.rates import Rate, per_minute
from gateway.hints.limiter import Ask, CounterDown, valkey_counter
from tests.stands.blind_gateway import NEW, OLD, gateway, keyring, url_of
from tests.stands.servers import free_port
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


async def test_a_member_is_told_home_and_the_limits_hold_for_all(
    database: Secret[str], tmp_path: Path, valkey_server: ValkeyServer
) -> None:
    async with gateway(database, tmp_path, valkey_server, per_key_minute=30, per_address_minute=1000) as stand:
        await stand.settle("ada", "ada@example.org", "US")

        async def at_home() -> bool:
            return (await stand.hint("ADA@example.org")).json() == {"region": "us", "home": "https://us.example.com"}

        await eventually(at_home)
        told, stranger = await stand.hint("ada@example.org"), await stand.hint("nobody@example.org")
        assert (stranger.status_code, len(stranger.content)) == (200, len(told.content))
        assert stranger.headers.keys() == told.headers.keys()
        for address in ("ada@example.org", "nobody@example.org"):
            # More than the burst of 30 by far: on a busy machine some seconds' worth of further ones is earned meanwhile.
            answers = await asyncio.gather(*(stand.hint(address) for _ in range(80)))
            refused = [answer for answer in answers if answer.status_code == 429]
            assert len(refused) >= 5
            assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in refused)


async def test_the_blinding_key_is_rotated_while_everybody_is_served(
    database: Secret[str], tmp_path: Path, valkey_server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="foundation.blinding_keys")
    async with gateway(database, tmp_path, valkey_server) as stand:
        await stand.settle("ada", "ada@example.org")

        async def served() -> bool:
            return (await stand.get("ada", "ada@example.org")).status_code == 200

        await eventually(served)
        assert await stand.generations() == {"k1": (2, 2)}

        keyring(tmp_path / "blinding.json", {"k1": OLD, "k2": NEW}, "k2")

        async def doubled() -> bool:
            assert await served()
            return await stand.generations() == {"k1": (2, 0), "k2": (2, 0)}

        await eventually(doubled)
        keyring(tmp_path / "blinding.json", {"k2": NEW}, "k2")
        # Who has not read it yet would tell the directory of k1 again.
        await eventually(lambda: [record.getMessage() for record in caplog.records].count("blinding_keys_read") == 2)
        retired = await stand.calls.operator.post("/v1/aliases/generations/k1/retire", {"reason": "test"})
        assert retired.json() == {"removed": 2, "left": False}

        async def by_the_new_key_alone() -> bool:
            return await served() and (await stand.hint("ada@example.org")).json().get("region") == "eu"

        await eventually(by_the_new_key_alone)
        assert await stand.generations() == {"k2": (2, 2)}


async def test_the_shared_counter_counts_over_all_who_share_it(valkey_server: ValkeyServer) -> None:
    name = f"test:{os.urandom(8).hex()}"
    async with valkey_counter(url_of(valkey_server)) as one, valkey_counter(url_of(valkey_server)) as other:
        waits = [(await counter.take([Ask(name, per_minute(6))]))[0] for counter in (one, other) * 5]
        assert waits[:6] == [0] * 6
        assert all(0 < wait <= 10_000 for wait in waits[6:])
        assert await one.take([Ask(f"{name}:other", per_minute(6))]) == [0]


async def test_a_counter_lets_further_asks_in_as_time_goes_by(valkey_server: ValkeyServer) -> None:
    name, rate = f"test:{os.urandom(8).hex()}", Rate(interval_ms=50, burst=1)
    async with valkey_counter(url_of(valkey_server)) as counter:
        assert await counter.take([Ask(name, rate)]) == [0]

        async def again() -> bool:
            return await counter.take([Ask(name, rate)]) == [0]

        await eventually(again)


async def test_a_value_of_another_kind_in_the_counters_place_stops_nobody(valkey_server: ValkeyServer) -> None:
    name = f"test:{os.urandom(8).hex()}"
    async with valkey_counter(url_of(valkey_server)) as counter:
        await counter._client.rpush(name, "x")
        assert await counter.take([Ask(name, per_minute(6))]) == [0]
        assert await counter.take([Ask(name, per_minute(1))]) != [0]


async def test_a_counter_that_is_gone_says_so(valkey_server: ValkeyServer) -> None:
    async with valkey_counter(Secret(f"redis://127.0.0.1:{free_port()}/0")) as counter:
        with pytest.raises(CounterDown):
            await counter.take([Ask("a", per_minute(6))])
