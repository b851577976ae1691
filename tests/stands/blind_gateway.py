"""A whole gateway with sign-in hints, over the real directory behind a wire that can be cut, and a real Valkey."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from starlette.types import Receive, Scope, Send

from deploy.local.valkey import ValkeyServer
from foundation.blinding import Blinder, BlindingKey
from foundation.http import HttpClient
from foundation.mute import Secret
from foundation.server import Drain
from foundation.words import RegionId
from gateway.app import opened
from gateway.edge.door import EdgeDoor
from gateway.settings import HintSettings, Settings
from tests.stands.directory import Callers, running_directory
from tests.stands.edge import REGION_ROOT, People, policy_text
from tests.stands.servers import serving
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually
from tests.stands.wire import Wire

ANSWER_MS = 400
"""Of which the directory has seven tenths: it shares this process and its time."""
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
    def __init__(self, calls: Callers, people: People, folder: Path, http: HttpClient, wire: Wire) -> None:
        self.calls, self.people, self.folder, self.http = calls, people, folder, http
        self.wire = wire
        """Between the gateway and its directory."""

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
async def cut_at_the_end(wire: Wire) -> AsyncIterator[Wire]:
    await wire.mend()
    try:
        yield wire
    finally:
        await wire.cut()


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
        cut_at_the_end(Wire("127.0.0.1", directory)) as wire,
    ):
        hosts = {"eu-de": f"127.0.0.1:{service}", "us-va": "127.0.0.1:9"}
        published = await running.callers.publisher.publish(policy_text(hosts, hosts))
        assert published.status_code == 201, published.text
        settings = Settings(
            region=RegionId("eu"),
            host="127.0.0.1",
            port=1,
            directory=f"http://127.0.0.1:{wire.port}",
            token_file=token,
            issuers=(people.as_issuer(),),
            region_root_keyring=keyring(folder / "region.json", {"r1": REGION_ROOT}, "r1"),
            blinding_keyring=keyring(folder / "blinding.json", {"k1": OLD}, "k1"),
            valkey_url_env="TEST_ALIASES_VALKEY",
            cache_mac_keyring=keyring(folder / "cache.json", {"c1": b"c" * 32}, "c1"),
            hints=HintSettings(
                keyring=keyring(folder / "hints.json", {"h1": os.urandom(32)}, "h1"), answer_ms=ANSWER_MS, **hints
            ),
        )
        async with opened(settings, drain=Drain()) as one, asyncio.TaskGroup() as group:
            work = [group.create_task(worker()) for name, worker in one.workers.items() if name != "skew"]
            async with serving(one.app, http=EdgeDoor) as port, HttpClient(base_url=f"http://127.0.0.1:{port}") as http:
                stand = Stand(running.callers, people, folder, http, wire)

                async def hinting() -> bool:
                    return (await stand.hint("somebody@example.org")).status_code == 200

                await eventually(hinting)
                yield stand
            for task in work:
                task.cancel()
