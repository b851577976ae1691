"""A directory for tests: the real application on a real database, its workers running, and callers in every role."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from directory.app import Directory, opened
from directory.placement.core import FeedPage
from foundation.blinding import Blinder, BlindingKey
from foundation.http import HttpClient
from foundation.mute import Secret
from foundation.tasks import ended
from foundation.words import LookupKey
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

_BLINDER = Blinder((BlindingKey("k1", Secret(b"k" * 32)),))

POLICY = """
[product]
citizenship = "residence"
profile = "cautious"
[directory]
country = "DE"
[operator]
country = "DE"
sectors = []
recipient_classes = []
overlays = []
[regions.eu]
country = "DE"
origin = "https://eu.example.com"
[regions.us]
country = "US"
origin = "https://us.example.com"
[cells.eu-de]
region = "eu"
jurisdiction = "eu"
serves = ["eu"]
shards = { s1 = { dsn_env = "EU_DE_S1", country = "DE" }, s2 = { dsn_env = "EU_DE_S2", country = "DE" } }
[cells.us-va]
region = "us"
jurisdiction = "us"
serves = ["us"]
shards = { s1 = { dsn_env = "US_VA_S1", country = "US" } }
[services.records]
purpose = "service"
hosts = { eu-de = ["127.0.0.1:7101"], us-va = ["127.0.0.1:7102"] }
[services.orders]
purpose = "service"
signup = ["/orders/sign-up"]
hosts = { eu-de = ["127.0.0.1:7201"], us-va = ["127.0.0.1:7202"] }
"""


def lookup_key(name: str) -> LookupKey:
    return _BLINDER.login("https://issuer.example", name)[0]


class Caller:
    """Speaks to a directory as one actor. Answers are `httpx.Response`."""

    def __init__(self, http: HttpClient, headers: dict[str, str]) -> None:
        self._http = http
        self._headers = headers

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self._http.get(path, headers=self._headers, params=params or None)

    async def post(self, path: str, body: Any, headers: dict[str, str] | None = None, **params: Any) -> httpx.Response:
        return await self._http.post(path, headers=self._headers | (headers or {}), json=body, params=params or None)

    async def raw(
        self, method: str, path: str, content: bytes, headers: dict[str, Any] | None = None
    ) -> httpx.Response:
        """A body as it is."""
        return await self._http.request(method, path, headers=self._headers | (headers or {}), content=content)

    async def publish(self, policy: str = POLICY) -> httpx.Response:
        return await self.post("/v1/rules", {"policy": policy, "reason": "test"})

    async def place(
        self, name: str, *, residence: str = "DE", idempotency_key: str | None = None, wait_ms: int = 0, **more: Any
    ) -> httpx.Response:
        body = {
            "residence": residence,
            "services": ["orders", "records"],
            "keys": [{"kind": "login", "key": lookup_key(name)}],
            "reason": "test",
        }
        headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
        return await self.post("/v1/subjects", body | more, headers, wait_ms=wait_ms)

    async def feed(self, after: int = 0, **params: Any) -> FeedPage:
        response = await self.get("/v1/feed", after=after, **params)
        assert response.status_code == 200, response.text
        return msgspec.json.decode(response.content, type=FeedPage)


class Callers:
    """Callers in every role of one running directory."""

    def __init__(self, http: HttpClient, tokens: ServiceIssuer) -> None:
        self.http = http
        self._tokens = tokens
        self.operator = self.of("operator:ops", "operator")
        self.resolver = self.of("gateway:eu", "resolver")
        self.publisher = self.of("operator:rules", "rules")
        self.cell = self.of("cell:eu-de", "cell:eu-de", "resolver", "signup:eu-de")
        self.cell_us = self.of("cell:us-va", "cell:us-va", "resolver", "signup:us-va")

    def of(self, actor: str, *roles: str) -> Caller:
        return Caller(self.http, self._tokens.headers(actor, roles))

    async def active(self, name: str, **more: Any) -> dict[str, Any]:
        """Places in eu-de and acknowledges; the placement."""
        placed = (await self.operator.place(name, **more)).json()["placement"]
        path = f"/v1/subjects/{placed['subject_id']}/ack"
        answer = await self.cell.post(path, {"epoch": placed["epoch"]})
        assert answer.status_code == 200, answer.text
        placement: dict[str, Any] = answer.json()["placement"]
        return placement


def services_ready(directory: Directory) -> bool:
    return directory.services.commits.problem() is None


class Running(msgspec.Struct, frozen=True):
    directory: Directory
    callers: Callers


@asynccontextmanager
async def running_directory(
    dsn: Secret[str], tokens: ServiceIssuer, *, workers: bool = True, **options: Any
) -> AsyncIterator[Running]:
    """The application with its workers, as a process has them; ready when entered. Without workers nothing hears other processes."""
    async with opened(dsn, [tokens.issuer], **options) as directory, asyncio.TaskGroup() as group:
        tasks = [group.create_task(worker()) for worker in directory.workers.values()] if workers else []
        transport = httpx.ASGITransport(app=directory.app)
        async with HttpClient(transport=transport, base_url="http://directory") as http:
            callers = Callers(http, tokens)
            if workers:
                await eventually(lambda: services_ready(directory))
            yield Running(directory, callers)
        await ended(tasks)
