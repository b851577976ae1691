"""`python -m gateway` as a process, with the real directory, real Valkey and a service behind it."""

import asyncio
import base64
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from cryptography import x509
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from wsproto.events import CloseConnection

from deploy.local.valkey import ValkeyServer
from foundation.blinding import Blinder, BlindingKey
from foundation.http import HttpClient
from foundation.mute import Secret
from tests.stands.certificates import Authority, serial_of
from tests.stands.compiled import COMPILED
from tests.stands.crew import Load, led
from tests.stands.directory import Caller, running_directory
from tests.stands.edge import CLOCK, REGION_ROOT, People, policy_text, service_verifier
from tests.stands.servers import free_port, serving
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.sockets import asking, opened, sending
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

BLINDING = b"b" * 32
BLINDER = Blinder((BlindingKey("b1", Secret(BLINDING)),))


def secret(path: Path, content: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(content)
    return path


def keyring(path: Path, kid: str, key: bytes) -> Path:
    return secret(path, json.dumps({"current": kid, "keys": {kid: base64.urlsafe_b64encode(key).decode()}}))


def settings_of(
    folder: Path, *, port: int, directory: int, people: People, tokens: ServiceIssuer, more: str = ""
) -> Path:
    token = secret(folder / "gateway.jwt", tokens.token("gateway:eu", ["resolver", "gateway:eu"]))
    path = folder / "gateway-eu.toml"
    path.write_text(f"""
region = "eu"
host = "127.0.0.1"
port = {port}
directory = "http://127.0.0.1:{directory}"
token_file = "{token}"
issuers = [{{ issuer = "{people.issuer}", audience = "{people.audience}", jwks = "{people.jwks}" }}]
region_root_keyring = "{keyring(folder / "region.json", "r1", REGION_ROOT)}"
blinding_keyring = "{keyring(folder / "blinding.json", "b1", BLINDING)}"
valkey_url_env = "TEST_GATEWAY_VALKEY"
cache_mac_keyring = "{keyring(folder / "cache.json", "c1", b"c" * 32)}"
trusted_proxies = ["127.0.0.1/32"]
country_database = ""
{more}
""")
    return path


@asynccontextmanager
async def gateway(settings: Path, valkey: ValkeyServer) -> AsyncIterator[asyncio.subprocess.Process]:
    url = f"redis://:{valkey.password.reveal()}@127.0.0.1:{valkey.port}/0"
    with (settings.parent / "gateway.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "--settings", str(settings),
            env=os.environ | {"TEST_GATEWAY_VALKEY": url}, stderr=log,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def place(operator: Caller, cell: Caller, people: People, sub: str, residence: str) -> dict[str, Any]:
    """Places a person whose login key is what the gateway will make of the token."""
    body = {
        "residence": residence,
        "services": ["orders", "records"],
        "keys": [{"kind": "login", "key": BLINDER.login(people.issuer, sub)[0]}],
        "reason": "test",
    }
    placed = (await operator.post("/v1/subjects", body, wait_ms=0)).json()["placement"]
    answer = await cell.post(f"/v1/subjects/{placed['subject_id']}/ack", {"epoch": placed["epoch"]})
    assert answer.status_code == 200, answer.text
    placement: dict[str, Any] = answer.json()["placement"]
    return placement


class Service:
    """Answers with the decision it was given; `/orders/slow` waits for `release`. Websockets are opened, and silent."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.waiting = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            return
        if scope["path"] == "/orders/slow":
            self.waiting.set()
            await self.release.wait()
        header = dict(scope["headers"]).get(b"domicile-decision", b"").decode()
        decision = service_verifier("eu-de", "orders").verify(header, CLOCK.unix_s())
        body = json.dumps({"subject": decision.subject, "epoch": decision.epoch, "verb": decision.verb}).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def test_a_gateway_from_its_start_to_its_drain(
    folder: Path, database: Secret[str], valkey_server: ValkeyServer
) -> None:
    tokens, people, service, port = ServiceIssuer(folder), People(folder), Service(), free_port()
    url = f"http://127.0.0.1:{port}"

    def bearer(sub: str) -> dict[str, str]:
        return {"authorization": f"Bearer {people.token(sub)}"}

    listening = serving(service, http=H11Protocol, ws="wsproto")
    async with HttpClient(base_url=url, timeout=10) as http, listening as orders:
        addresses = {"eu-de": f"127.0.0.1:{orders}", "us-va": "127.0.0.1:9"}

        async def ready() -> bool:
            try:
                return (await http.get("/readyz")).status_code == 200
            except httpx.HTTPError:
                return False

        async with running_directory(database, tokens) as running:
            callers = running.callers
            async with serving(running.directory.app) as directory:
                settings = settings_of(folder, port=port, directory=directory, people=people, tokens=tokens)
                async with gateway(settings, valkey_server) as process:
                    await _alive(http)
                    assert (await http.get("/readyz")).status_code == 503  # no rules yet
                    assert (await http.get("/orders/1", headers=bearer("ann"))).status_code == 503
                    assert (await callers.publisher.publish(policy_text(addresses, addresses))).status_code == 201
                    await eventually(ready)

                    assert (await http.get("/orders/1", headers=bearer("ann"))).json()["code"] == "no_home"
                    home = await place(callers.operator, callers.cell, people, "ann", "DE")
                    away = await place(callers.operator, callers.cell_us, people, "bob", "US")

                    async def served() -> bool:
                        return (await http.get("/orders/1", headers=bearer("ann"))).status_code == 200

                    await eventually(served)  # the absence was cached; the feed replaces it
                    response = await http.get("/orders/1", headers=bearer("ann"))
                    assert response.json() == {"subject": home["subject_id"], "epoch": home["epoch"], "verb": "read"}
                    elsewhere = await http.get("/orders/1", headers=bearer("bob"))
                    assert (elsewhere.status_code, elsewhere.json()["home"]) == (421, "https://us.example.com")
                    assert away["cell"] == "us-va"

                    body = {"epoch": home["epoch"], "reason": "test"}
                    path = f"/v1/subjects/{home['subject_id']}/freeze"
                    token = b"Authorization: " + bearer("ann")["authorization"].encode()
                    async with opened(port, b"/orders/live", token) as talk:
                        assert (await callers.operator.post(path, body)).status_code == 200
                        with anyio.fail_after(10):
                            assert await talk.message() == CloseConnection(code=1008, reason="epoch changed")

                    async def frozen() -> bool:
                        answer = await http.post("/orders/1", headers=bearer("ann"))
                        return answer.status_code == 503 and answer.json()["code"] == "subject_frozen"

                    await eventually(frozen)
                    async with sending(port, asking(b"/orders/live", token)) as (reader, _):
                        with anyio.fail_after(10):
                            assert (await reader.readline()).startswith(b"HTTP/1.1 503 ")
                    await _drains(http, service, bearer("ann"), process, url)
                    log = (folder / "gateway.log").read_text()
                    assert "ann" not in log
                    lines = [json.loads(line) for line in log.splitlines()]
                    assert {line["process"] for line in lines} == {"gateway-eu"}
                    assert [line["compiled"] for line in lines if line["event"] == "serving"] == [len(COMPILED)]


async def test_the_known_are_served_when_the_directory_is_gone(
    folder: Path, database: Secret[str], valkey_server: ValkeyServer
) -> None:
    tokens, people, service, port = ServiceIssuer(folder), People(folder), Service(), free_port()
    async with HttpClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as http, serving(service) as orders:
        addresses = {"eu-de": f"127.0.0.1:{orders}", "us-va": "127.0.0.1:9"}
        async with running_directory(database, tokens) as running:
            await running.callers.publisher.publish(policy_text(addresses, addresses))
            await place(running.callers.operator, running.callers.cell, people, "ann", "DE")
            listener = serving(running.directory.app)
            directory = await listener.__aenter__()
            settings = settings_of(folder, port=port, directory=directory, people=people, tokens=tokens)
            async with gateway(settings, valkey_server):
                token = {"authorization": f"Bearer {people.token('ann')}"}
                stranger = {"authorization": f"Bearer {people.token('bob')}"}
                await _alive(http)

                async def served() -> bool:
                    return (await http.get("/orders/1", headers=token)).status_code == 200

                await eventually(served)
                await listener.__aexit__(None, None, None)
                for _ in range(5):
                    assert await served()
                refused = await http.get("/orders/1", headers=stranger)
                assert (refused.status_code, refused.json()["code"]) == (503, "home_unknown")
                assert (await http.get("/readyz")).status_code == 200


async def test_limits_are_kept_by_the_regions_budget_and_not_by_the_process_alone(
    folder: Path, database: Secret[str], valkey_server: ValkeyServer
) -> None:
    """Of 40 at once and one a second, a process grants 10 by itself; whoever asks on gets the rest out of Valkey, and then 429."""

    async def health(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    tokens, people, port = ServiceIssuer(folder), People(folder), free_port()
    async with HttpClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as http, serving(health) as orders:
        addresses = {"eu-de": f"127.0.0.1:{orders}", "us-va": "127.0.0.1:9"}

        async def status(client: str) -> int:
            return (await http.get("/orders/health", headers={"x-forwarded-for": client})).status_code

        async with running_directory(database, tokens) as running, serving(running.directory.app) as directory:
            await running.callers.publisher.publish(policy_text(addresses, addresses))
            settings = settings_of(
                folder,
                port=port,
                directory=directory,
                people=people,
                tokens=tokens,
                more="limits = { address = { per_s = 1, burst = 40 }, subject = { per_s = 100, burst = 200 } }",
            )
            async with gateway(settings, valkey_server):
                await _alive(http)

                async def served() -> bool:
                    return await status("198.51.100.1") == 200

                await eventually(served)
                answers = 0

                async def refused_after_the_burst() -> bool:
                    nonlocal answers
                    if await status("198.51.100.7") == 429:
                        return answers >= 40
                    answers += 1
                    return False

                await eventually(refused_after_the_burst, s_max=60)
                assert await status("198.51.100.8") == 200
                shown = (await http.get("/metrics")).text
                assert 'domicile_gateway_limited_total{limit="address"}' in shown
                assert 'domicile_gateway_limit_leases_total{outcome="granted"}' in shown
            assert "198.51.100" not in (folder / "gateway.log").read_text()


async def test_workers_share_a_port_come_back_when_killed_and_lose_no_request_when_renewed(
    folder: Path, database: Secret[str], valkey_server: ValkeyServer
) -> None:
    tokens, people = ServiceIssuer(folder), People(folder)
    environment = os.environ | {"TEST_GATEWAY_VALKEY": valkey_server.url().reveal()}
    async with serving(Service()) as orders, running_directory(database, tokens) as running:
        addresses = {"eu-de": f"127.0.0.1:{orders}", "us-va": "127.0.0.1:9"}
        await running.callers.publisher.publish(policy_text(addresses, addresses))
        await place(running.callers.operator, running.callers.cell, people, "ann", "DE")
        async with serving(running.directory.app) as directory:
            settings = settings_of(folder, port=0, directory=directory, people=people, tokens=tokens)
            command = [
                sys.executable,
                "-m",
                "gateway",
                "--settings",
                str(settings),
                "--workers",
                "2",
                "--admin",
                "127.0.0.1:0",
            ]
            async with led(command, folder / "gateway.log", env=environment) as crew:
                await crew.serving(2)
                load = Load(f"{crew.url}/orders/1", headers={"authorization": f"Bearer {people.token('ann')}"})
                async with asyncio.TaskGroup() as group:
                    for number in range(4):
                        group.create_task(load.ask(number))
                    await load.more()
                    killed, stays = await crew.pids()
                    os.kill(killed, signal.SIGKILL)
                    await eventually(lambda: any(line["event"] == "worker_lost" for line in crew.events()))
                    await crew.serving(2)
                    assert (await crew.pids())[1] == stays
                    load.lost.clear()  # what the killed one had under way
                    await load.more()
                    crew.child.send_signal(signal.SIGHUP)
                    await eventually(lambda: any(line["event"] == "crew_renewed" for line in crew.events()), s_max=60)
                    await load.more()
                    load.end()
                assert load.lost == []
                async with HttpClient(base_url=crew.admin, trust_env=False) as http:
                    assert (await http.get("/readyz")).status_code == 200
                    shown = (await http.get("/metrics")).text
                assert 'domicile_gateway_verdicts_total{worker="2",code="serve"}' in shown
                assert {line["process"] for line in crew.events()} == {"gateway-eu", "gateway-eu/1", "gateway-eu/2"}
                crew.child.send_signal(signal.SIGTERM)
                assert await crew.ends() == 0


async def test_more_workers_than_parts_of_a_budget_are_said_in_one_line(folder: Path) -> None:
    settings = settings_of(
        folder, port=0, directory=9, people=People(folder), tokens=ServiceIssuer(folder),
        more="limits = { address = { per_s = 1, burst = 40 }, parts = 2 }",
    )  # fmt: skip
    command = (sys.executable, "-m", "gateway", "--settings", str(settings), "--workers", "3", "--admin", "127.0.0.1:0")
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"limits.parts is 2, and each of 3 workers" in said
    assert len(said.splitlines()) == 1


async def test_a_setting_that_does_not_hold_is_said_in_one_line(folder: Path) -> None:
    path = folder / "gateway.toml"
    path.write_text('region = "eu"\nhosst = "x"\n')
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "--settings", str(path), stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"did you mean host?" in said
    assert len(said.splitlines()) == 1


async def test_a_gateway_serves_tls_by_itself_and_takes_a_renewed_certificate_as_it_runs(
    folder: Path, valkey_server: ValkeyServer
) -> None:
    ours, port = Authority(folder, "ours"), free_port()
    certificate, key = ours.sign("gateway-eu")
    settings = settings_of(
        folder, port=port, directory=9, people=People(folder), tokens=ServiceIssuer(folder),
        more=f'tls = {{ certificate = "{certificate}", key = "{key}" }}',
    )  # fmt: skip
    believing = ssl.create_default_context(cafile=ours.file)

    async def shown() -> int:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=believing)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        return x509.load_der_x509_certificate(der).serial_number

    async with gateway(settings, valkey_server) as process:
        async with HttpClient(base_url=f"https://127.0.0.1:{port}", verify=believing, timeout=20) as http:
            await _alive(http)
            assert await shown() == serial_of(certificate)
            ours.sign("gateway-eu")

            async def renewed() -> bool:
                return await shown() == serial_of(certificate)

            await eventually(renewed, s_max=20)
            assert (await http.get("/healthz")).status_code == 200
            metrics = (await http.get("/metrics")).text
            assert 'domicile_tls_certificate_expires_seconds{use="tls"}' in metrics
            assert 'domicile_tls_reload_failed{use="tls"} 0.0' in metrics
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert '"event":"tls_files_read"' in (folder / "gateway.log").read_text()


async def test_a_certificate_that_cannot_be_served_is_said_in_one_line(
    folder: Path, valkey_server: ValkeyServer
) -> None:
    ours = Authority(folder, "ours")
    (certificate, _), (_, key) = ours.sign("gateway-eu"), ours.sign("other")
    settings = settings_of(
        folder, port=free_port(), directory=9, people=People(folder), tokens=ServiceIssuer(folder),
        more=f'tls = {{ certificate = "{certificate}", key = "{key}" }}',
    )  # fmt: skip
    async with gateway(settings, valkey_server) as process:
        assert await process.wait() == 2
    said = (folder / "gateway.log").read_text()
    assert said == f"gateway: tls.key {key}: is not the key of {certificate}; give both of one renewal\n"


async def _alive(http: HttpClient) -> None:
    async def alive() -> bool:
        try:
            return (await http.get("/healthz")).status_code == 200
        except httpx.HTTPError:
            return False

    await eventually(alive, s_max=20)


async def _drains(
    http: HttpClient, service: Service, headers: dict[str, str], process: asyncio.subprocess.Process, url: str
) -> None:
    """A request under way is finished after SIGTERM, and the process ends well."""
    async with asyncio.TaskGroup() as group:
        slow = group.create_task(http.get("/orders/slow", headers=headers))
        await service.waiting.wait()
        process.send_signal(signal.SIGTERM)

        async def closed() -> bool:
            try:
                async with HttpClient(base_url=url) as late:
                    await late.get("/healthz")
            except httpx.HTTPError:
                return True
            return False

        await eventually(closed)
        service.release.set()
    assert slow.result().status_code == 200
    assert await process.wait() == 0
