"""Sign-in hints and a rotation of the blinding key, at a whole gateway over the real directory and a real Valkey."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from deploy.local.valkey import ValkeyServer
from foundation.blinding import Blinder, BlindingKey
from foundation.http import HttpClient
from foundation.mute import Secret
from foundation.rates import Rate, per_minute
from foundation.server import Drain
from foundation.words import RegionId
from gateway.app import opened
from gateway.edge.door import Door
from gateway.hints.limiter import Ask, CounterDown, valkey_counter
from gateway.settings import HintSettings, Settings
from tests.stands.directory import Callers, running_directory
from tests.stands.edge import REGION_ROOT, People, policy_text
from tests.stands.servers import free_port, serving
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

OLD, NEW = b"o" * 32, b"n" * 32
ONE = Blinder((BlindingKey("k1", Secret(OLD)),))


def keyring(path: Path, keys: Mapping[str, bytes], current: str) -> Path:
    """Replaced as a whole, as whoever rotates does."""
    encoded = {kid: base64.urlsafe_b64encode(key).decode() for kid, key in keys.items()}
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps({"current": current, "keys": encoded}))
    fresh.replace(path)
    return path


def url_of(valkey: ValkeyServer) -> Secret[str]:
    return Secret(f"redis://:{valkey.password.reveal()}@127.0.0.1:{valkey.port}/0")


async def orders(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


class Stand:
    def __init__(self, calls: Callers, people: People, folder: Path, http: HttpClient) -> None:
        self.calls, self.people, self.folder, self.http = calls, people, folder, http

    async def settle(self, sub: str, email: str, residence: str = "DE") -> str:
        login = ONE.login(self.people.issuer, sub)
        keys = [
            {"kind": "login", "key": login[0], "kid": "k1"},
            {"kind": "email", "key": ONE.email(email)[0], "kid": "k1"},
        ]
        placed = (await self.calls.operator.place(sub, residence=residence, keys=keys)).json()["placement"]
        cell = self.calls.cell if placed["cell"] == "eu-de" else self.calls.cell_us
        await cell.post(f"/v1/subjects/{placed['subject_id']}/ack", {"epoch": placed["epoch"]})
        return str(placed["subject_id"])

    async def get(self, sub: str, email: str) -> httpx.Response:
        """With a token of its own each time, so that the identity is established anew."""
        token = self.people.token(sub, email=email, email_verified=True)
        return await self.http.get("/orders/mine", headers={"authorization": f"Bearer {token}"})

    async def hint(self, email: str) -> httpx.Response:
        return await self.http.post("/.well-known/domicile/home", json={"kind": "email", "value": email})

    async def generations(self) -> dict[str | None, tuple[int, int]]:
        told = (await self.calls.operator.get("/v1/aliases/generations")).json()["generations"]
        return {one["kid"]: (sum(one["keys"].values()), one["alone"]) for one in told}


@asynccontextmanager
async def gateway(database: Secret[str], folder: Path, valkey: ValkeyServer, **hints: int) -> AsyncIterator[Stand]:
    tokens, people = ServiceIssuer(folder), People(folder)
    token = folder / "gateway.jwt"
    tokens.token_file(token, "gateway:eu", ["resolver", "gateway:eu"])
    os.environ["TEST_ALIASES_VALKEY"] = url_of(valkey).reveal()
    async with (
        running_directory(database, tokens) as running,
        serving(running.directory.app) as directory,
        serving(orders) as service,
    ):
        hosts = {"eu-de": f"127.0.0.1:{service}", "us-va": "127.0.0.1:9"}
        published = await running.callers.publisher.publish(policy_text(hosts, hosts))
        assert published.status_code == 201, published.text
        settings = Settings(
            region=RegionId("eu"),
            host="127.0.0.1",
            port=1,
            directory=f"http://127.0.0.1:{directory}",
            token_file=token,
            issuers=(people.as_issuer(),),
            region_root_keyring=keyring(folder / "region.json", {"r1": REGION_ROOT}, "r1"),
            blinding_keyring=keyring(folder / "blinding.json", {"k1": OLD}, "k1"),
            valkey_url_env="TEST_ALIASES_VALKEY",
            cache_mac_keyring=keyring(folder / "cache.json", {"c1": b"c" * 32}, "c1"),
            hints=HintSettings(
                keyring=keyring(folder / "hints.json", {"h1": os.urandom(32)}, "h1"), answer_ms=150, **hints
            ),
        )
        async with opened(settings, drain=Drain()) as one, asyncio.TaskGroup() as group:
            work = [group.create_task(worker()) for name, worker in one.workers.items() if name != "skew"]
            async with serving(one.app, http=Door) as port, HttpClient(base_url=f"http://127.0.0.1:{port}") as http:
                stand = Stand(running.callers, people, folder, http)

                async def hinting() -> bool:
                    return (await stand.hint("somebody@example.org")).status_code == 200

                await eventually(hinting)
                yield stand
            for task in work:
                task.cancel()


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
    database: Secret[str], tmp_path: Path, valkey_server: ValkeyServer
) -> None:
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
        retired = await stand.calls.operator.post("/v1/aliases/generations/k1/retire", {"reason": "test"})
        assert retired.json() == {"removed": 2, "left": False}

        async def by_the_new_key_alone() -> bool:
            return await served() and (await stand.hint("ada@example.org")).json()["region"] == "eu"

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
