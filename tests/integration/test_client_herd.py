"""A directory process that is killed and started again while dozens of real clients wait for its feed and miss people."""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from directory.client.client import Known, Unknown
from directory.client.remote import HttpDirectory
from foundation.clock import SystemClock
from foundation.http import HttpClient, client
from foundation.mute import Secret
from foundation.tokens import TokenFile
from foundation.words import LookupKey
from tests.stands.directory import Callers, lookup_key
from tests.stands.herd import Member
from tests.stands.servers import free_port
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

CLIENTS = 60
POOLS = 6
MISSES = 15
STALE_S_MAX = 9.0
WAIT_MS = 4000
RESOLVE_S_MAX = 30.0
"""Longer than anywhere: all these clients share one interpreter here, and how soon they are answered is not what is held."""
BATCHES_MAX = 2
"""How many questions a client has under way at most, while the directory answers."""


class Restarting:
    """`python -m directory` on one port and one database, as often as it is started."""

    def __init__(self, folder: Path, dsn: Secret[str], tokens: ServiceIssuer) -> None:
        self.port = free_port()
        self._dsn = dsn
        self._settings = folder / "directory.toml"
        issuer = tokens.issuer
        self._settings.write_text(
            f'host = "127.0.0.1"\nport = {self.port}\ndsn_env = "TEST_DIRECTORY_DSN"\n'
            f'service_issuers = [{{ issuer = "{issuer.issuer}", audience = "{issuer.audience}", jwks = "{issuer.jwks}" }}]\n'
        )
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, http: HttpClient) -> None:
        command = [sys.executable, "-m", "directory", "--settings", str(self._settings)]
        environment = os.environ | {"TEST_DIRECTORY_DSN": self._dsn.reveal()}
        quiet = subprocess.DEVNULL
        self._process = await asyncio.to_thread(subprocess.Popen, command, env=environment, stdout=quiet, stderr=quiet)

        async def ready() -> bool:
            try:
                return (await http.get("/readyz")).status_code == 200
            except httpx.HTTPError:
                return False

        await eventually(ready, s_max=60)

    async def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)


@asynccontextmanager
async def herd(port: int, token: Path) -> AsyncIterator[list[Member]]:
    """Running clients, each with a chance of its own; some share a connection pool, none anything else."""
    async with AsyncExitStack() as stack:
        pools = [
            await stack.enter_async_context(
                client(f"http://127.0.0.1:{port}", token=TokenFile(token), connections_max=2 * CLIENTS)
            )
            for _ in range(POOLS)
        ]
        members = [
            Member(
                HttpDirectory(pools[number % POOLS], resolve_s_max=RESOLVE_S_MAX),
                SystemClock(),
                stale_s_max=STALE_S_MAX,
                wait_ms=WAIT_MS,
                resolve_s_max=RESOLVE_S_MAX,
                chance=random.Random(number).random,
            )
            for number in range(CLIENTS)
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one.follower.run()) for one in members]
            yield members
            for member in members:
                await member.client.aclose()
            for task in tasks:
                task.cancel()


async def until_known(member: Member, keys: list[LookupKey]) -> None:
    """Asks again after each 503 as requests do that are told `Retry-After: 1`, until every key is answered."""
    with anyio.fail_after(100):
        while True:
            found = await asyncio.gather(*(member.client.resolve(key) for key in keys))
            if all(isinstance(one, Known) for one in found):
                return
            await anyio.sleep(1.0)


@pytest.mark.timeout(300)
async def test_a_restarted_directory_is_asked_by_a_few_questions_a_client_and_everybody_is_answered_right(
    database: Secret[str], tmp_path: Path
) -> None:
    tokens = ServiceIssuer(tmp_path)
    token = tmp_path / "gateway.jwt"
    tokens.token_file(token, "gateway:eu", ["resolver"])
    process = Restarting(tmp_path, database, tokens)
    missed = [lookup_key(f"missed-{number}") for number in range(MISSES)]
    try:
        async with client(f"http://127.0.0.1:{process.port}") as http:
            await process.start(http)
            calls = Callers(http, tokens)
            assert (await calls.publisher.publish()).status_code == 201
            known = (await calls.active("known"))["subject_id"]
            subjects = {key: (await calls.active(f"missed-{at}"))["subject_id"] for at, key in enumerate(missed)}
            async with herd(process.port, token) as members:
                await eventually(lambda: all(one.client.problem() is None for one in members), s_max=100)
                await asyncio.gather(*(until_known(one, [lookup_key("known")]) for one in members))
                await process.kill()
                before = [one.asked for one in members]
                dark = await asyncio.gather(*(one.client.resolve(missed[0]) for one in members))
                assert all(isinstance(answer, Unknown) for answer in dark)
                await eventually(lambda: all(one.knows(lookup_key("known")) is None for one in members), s_max=60)
                for one in members:
                    one.beside = 0
                await asyncio.gather(process.start(http), *(until_known(one, missed) for one in members))
                # alone while dark, and then at most as many at once as a client ever has: not one for each miss
                assert max(one.beside for one in members) <= BATCHES_MAX
                assert sum(one.asked - was for one, was in zip(members, before, strict=True)) < CLIENTS * MISSES * 3
                for one in members:
                    for key, subject_id in subjects.items():
                        answer = await one.client.resolve(key)
                        assert isinstance(answer, Known)
                        assert answer.placement.subject_id == subject_id
                now = (await calls.resolver.get(f"/v1/subjects/{known}")).json()["placement"]
                told = await calls.operator.post(
                    f"/v1/subjects/{known}/epoch", {"epoch": now["epoch"], "reason": "after the restart"}
                )
                fresh = told.json()["placement"]["epoch"]

                def heard(member: Member) -> bool:
                    found = member.knows(lookup_key("known"))
                    return found is None or getattr(found, "epoch", None) == fresh

                await asyncio.gather(*(until_known(one, [lookup_key("known")]) for one in members))
                await eventually(lambda: all(map(heard, members)), s_max=60)
    finally:
        await process.kill()
