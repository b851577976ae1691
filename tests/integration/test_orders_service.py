"""The sample product behind its guard, against a cell service over HTTP and as a process of its own."""

import asyncio
import base64
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from cells.guard.client import CellService
from cells.guard.mount import Guarding
from cells.guard.worker import EpochKeeper
from deploy.local.orders.app import orders_app
from deploy.local.orders.settings import read
from foundation.clock import SystemClock
from foundation.decision_header import ServiceVerifier
from foundation.http import client
from foundation.problems import Code, Problem
from foundation.settings import SettingsError
from foundation.words import Verb
from tests.stands.fake_cell import (
    CELL,
    SERVICE,
    FakeCell,
    a_subject,
    decision,
    http_to,
    minter,
    service_keys,
)
from tests.stands.servers import free_port, serving
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

ANNA, BERT = a_subject(1), a_subject(2)
ORDER = {"item": "kettle", "quantity": 1, "total_cents": 4990, "currency": "EUR"}
CLOCK = SystemClock()


class Product:
    """Orders over a cell service on a real server."""

    def __init__(self, cell: FakeCell, http: httpx.AsyncClient) -> None:  # noqa: TID251
        self.cell = cell
        self.http = http

    async def ask(
        self,
        method: str,
        path: str,
        *,
        who: Any = ANNA,
        epoch: int | None = 5,
        verb: Verb | None = None,
        **options: Any,
    ) -> httpx.Response:
        wanted = verb or (Verb.READ if method == "GET" else Verb.WRITE)
        made = decision(who, epoch, wanted, now=CLOCK.unix_s())
        return await self.http.request(method, path, headers={"domicile-decision": minter().mint(made)}, **options)

    async def sign_up(self, **body: Any) -> httpx.Response:
        return await self.ask(
            "POST", "/orders/sign-up", who=None, epoch=None, verb=Verb.SIGNUP, json={"name": "Anna Krämer"} | body
        )


@pytest.fixture
async def product(tmp_path: Path) -> AsyncIterator[Product]:
    cell = FakeCell(now=CLOCK.unix_s)
    cell.put(ANNA, 5)
    cell.put(BERT, 5)
    token = ServiceIssuer(tmp_path).token_file(tmp_path / "token", "service:orders", ["service:orders@eu-de"])
    verifier = ServiceVerifier(CELL, SERVICE, service_keys())
    async with serving(cell.app) as port, client(f"http://127.0.0.1:{port}", token=token) as http:
        calls = CellService(http, verifier, CLOCK)
        keeper = EpochKeeper(calls, CLOCK)
        await keeper._poll()
        guarded = Guarding(cell=calls, keeper=keeper, verifier=verifier, clock=CLOCK)
        app = orders_app(SERVICE, guarded, ready=keeper.ready)
        async with http_to(app) as asking:
            yield Product(cell, asking)
        await keeper.aclose()


async def test_a_sign_up_places_the_person_and_stores_the_profile(product: Product) -> None:
    answer = await product.sign_up(email="anna@example.de", birth_date="1990-02-03", locale="de_DE")
    assert answer.status_code == 201
    body = answer.json()
    assert (body["cell"], body["epoch"]) == ("eu-de", 7)
    assert body["profile"]["display_name"] == "Anna Krämer"
    assert body["profile"]["birth_date"] == "1990-02-03"
    stored = list(product.cell.rows.values())
    assert [row["subject_id"] for row in stored] == [body["subject_id"]]


async def test_a_repeated_sign_up_finishes_the_profile_and_keeps_one(product: Product) -> None:
    first = await product.ask("POST", "/orders/sign-up", json={"name": "Anna"})
    second = await product.ask("POST", "/orders/sign-up", json={"name": "Anna", "phone": "+49 30 1"})
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json()["profile"]["phone"] == "+49 30 1"
    assert len(product.cell.rows) == 1


async def test_two_sign_ups_at_once_make_one_profile(product: Product) -> None:
    answers = await asyncio.gather(*(product.ask("POST", "/orders/sign-up", json={"name": "Anna"}) for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len(product.cell.rows) == 1


async def test_a_bad_sign_up_places_nobody(product: Product) -> None:
    before = dict(product.cell.homes)
    for body in ({"name": ""}, {"email": "no address"}, {"birth_date": "3.2.1990"}, {"nam": "x"}, {"locale": "x y"}):
        answer = await product.sign_up(**body)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert product.cell.homes == before


async def test_an_order_lives_from_creation_to_deletion(product: Product) -> None:
    created = await product.ask("POST", "/orders", json=ORDER)
    assert created.status_code == 201
    path = created.headers["location"]
    assert path == f"/orders/{created.json()['id']}"
    assert (await product.ask("GET", path)).json()["item"] == "kettle"
    changed = await product.ask("PATCH", path, json={"note": "by the door", "quantity": 2})
    assert (changed.json()["note"], changed.json()["quantity"]) == ("by the door", 2)
    assert [row["id"] for row in (await product.ask("GET", "/orders?limit=10")).json()["orders"]] == [
        created.json()["id"]
    ]
    assert (await product.ask("DELETE", path)).status_code == 204
    assert (await product.ask("GET", path)).status_code == 404
    assert (await product.ask("DELETE", path)).status_code == 404


async def test_a_clients_own_order_id_makes_repeats_conflict(product: Product) -> None:
    body = ORDER | {"id": "7d0f6a5c-3b7e-4c3b-9d1e-0a1b2c3d4e5f"}
    assert (await product.ask("POST", "/orders", json=body)).status_code == 201
    assert (await product.ask("POST", "/orders", json=body)).status_code == 409
    assert len(product.cell.rows) == 1


async def test_nobody_sees_anothers_orders(product: Product) -> None:
    created = await product.ask("POST", "/orders", json=ORDER)
    path = created.headers["location"]
    assert (await product.ask("GET", path, who=BERT)).status_code == 404
    assert (await product.ask("GET", "/orders", who=BERT)).json() == {"orders": []}


async def test_the_profile_is_read_and_changed(product: Product) -> None:
    assert (await product.ask("GET", "/orders/profile")).status_code == 404
    await product.ask("POST", "/orders/sign-up", json={"name": "Anna", "phone": "1"})
    changed = await product.ask("PATCH", "/orders/profile", json={"phone": None, "locale": "de-AT"})
    assert (changed.json()["phone"], changed.json()["locale"]) == (None, "de-AT")
    assert (await product.ask("GET", "/orders/profile")).json()["locale"] == "de-AT"


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("POST", "/orders", {"json": ORDER | {"quantity": 0}}),
        ("POST", "/orders", {"json": ORDER | {"currency": "euro"}}),
        ("POST", "/orders", {"json": ORDER | {"price": 1}}),
        ("POST", "/orders", {"content": b"{"}),
        ("PATCH", "/orders/profile", {"json": {}}),
        ("PATCH", "/orders/7d0f6a5c-3b7e-4c3b-9d1e-0a1b2c3d4e5f", {"json": {"total_cents": 0}}),
        ("GET", "/orders?limit=0", {}),
        ("GET", "/orders?limit=many", {}),
        ("GET", "/orders/stream?rows=-1", {}),
    ],
)
async def test_bad_input_gets_a_problem_document(
    product: Product, method: str, path: str, options: dict[str, Any]
) -> None:
    answer = await product.ask(method, path, **options)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert product.cell.rows == {}


async def test_an_id_that_is_none_leads_nowhere_and_asks_nobody(product: Product) -> None:
    for path in ("/orders/1", "/orders/eq.1", "/orders/x,id=gt.0", "/orders/sign-up"):
        assert (await product.ask("GET", path)).status_code == 404
    assert product.cell.seen_headers == []


async def test_what_is_passed_and_what_the_guard_refuses_count_as_one_request_each(product: Product) -> None:
    def counted(route: str, status: int) -> float:
        labels = {"route": route, "method": "GET", "status": str(status)}
        return REGISTRY.get_sample_value("domicile_requests_total", labels) or 0.0

    refused, passed = counted("unmatched", 409), counted("/orders", 200)
    assert (await product.ask("GET", "/orders", epoch=4)).status_code == 409
    assert (await product.ask("GET", "/orders")).status_code == 200
    assert (counted("unmatched", 409), counted("/orders", 200)) == (refused + 1, passed + 1)


@pytest.mark.parametrize(
    ("code", "epoch", "status"),
    [(Code.STALE_EPOCH, 6, 409), (Code.CELL_BEHIND, None, 503), (Code.SUBJECT_FROZEN, None, 503)],
)
async def test_refusals_of_the_records_api_pass_through(
    product: Product, code: Code, epoch: int | None, status: int
) -> None:
    product.cell.refuse_records = Problem(code=code, detail="…", retry_after_s=1)
    product.cell.refusal_epoch = epoch
    answer = await product.ask("POST", "/orders", json=ORDER)
    assert (answer.status_code, answer.json()["code"], answer.headers["domicile-refusal"]) == (status, code, code)
    assert answer.headers.get("domicile-epoch") == (str(epoch) if epoch else None)
    assert answer.headers["retry-after"] == "1"


async def test_calls_carry_the_services_own_token_and_the_callers_trace(product: Product) -> None:
    await product.ask("POST", "/orders", json=ORDER)
    seen = product.cell.seen_headers[0]
    assert seen["authorization"].startswith("Bearer ey")
    assert seen["traceparent"].startswith("00-")


async def test_the_stream_is_as_long_as_asked(product: Product) -> None:
    answer = await product.ask("GET", "/orders/stream?rows=1500")
    lines = answer.text.splitlines()
    assert (len(lines), json.loads(lines[-1])["row"]) == (1500, 1499)


async def test_the_echo_gives_back_what_came(product: Product) -> None:
    body = bytes(range(256)) * 1000
    assert (await product.ask("POST", "/orders/echo", content=body)).content == body
    assert (await product.ask("POST", "/orders/echo", content=b"")).content == b""


async def test_the_job_decision_is_for_this_service(product: Product, tmp_path: Path) -> None:
    verifier = ServiceVerifier(CELL, SERVICE, service_keys())
    async with http_to(product.cell.app) as http:
        got = await CellService(http, verifier, CLOCK).job_decision(ANNA, Verb.READ)
    assert (got.decision.subject, got.decision.verb) == (ANNA, Verb.READ)


# --- as a process ------------------------------------------------------------------------------------------------------------


def _settings(folder: Path, *, port: int, cell_port: int) -> Path:
    keys = {"k1": base64.urlsafe_b64encode(service_keys()["k1"].reveal()).decode().rstrip("=")}
    keyring = folder / "decision.json"
    keyring.write_text(json.dumps({"current": "k1", "keys": keys}))
    keyring.chmod(0o600)
    ServiceIssuer(folder).token_file(folder / "orders.jwt", "service:orders", ["service:orders@eu-de"])
    path = folder / "orders.toml"
    path.write_text(
        f'cell = "eu-de"\nservice = "orders"\nhost = "127.0.0.1"\nport = {port}\n'
        f'cell_service = "http://127.0.0.1:{cell_port}"\ntoken_file = "{folder}/orders.jwt"\n'
        f'decision_keyring = "{keyring}"\n'
    )
    return path


async def test_the_process_serves_when_its_cell_is_there_and_drains_on_sigterm(tmp_path: Path) -> None:
    cell = FakeCell(now=CLOCK.unix_s, lease_ms=1000)
    cell.put(ANNA, 5)
    port = free_port()
    async with serving(cell.app) as cell_port, client(f"http://127.0.0.1:{port}") as http:
        settings = _settings(tmp_path, port=port, cell_port=cell_port)
        command = [sys.executable, "-m", "deploy.local.orders", "--settings", str(settings)]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(command, stderr=log)  # noqa: ASYNC220 - returns once the child has started
        try:

            async def answers(path: str, status: int) -> bool:
                try:
                    return (await http.get(path)).status_code == status
                except httpx.HTTPError:
                    return False

            await eventually(lambda: answers("/readyz", 200))
            header = minter().mint(decision(ANNA, 5, now=CLOCK.unix_s()))
            answer = await http.get("/orders", headers={"domicile-decision": header})
            assert (answer.status_code, answer.json()) == (200, {"orders": []})
            cell.silent = True
            await eventually(lambda: answers("/readyz", 503))
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 15) == 0
        finally:
            process.kill()
            process.wait()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {"serving", "cell_heard", "cell_silent", "served"} <= {line["event"] for line in lines}
    assert {line["process"] for line in lines} == {"orders-eu-de"}


def test_settings_that_do_not_hold_are_said_in_one_line(tmp_path: Path) -> None:
    good = _settings(tmp_path, port=1, cell_port=2).read_text()
    for wrong, words in [
        (good.replace("cell_service", "cell_servise"), "did you mean cell_service"),
        (good.replace('"eu-de"', '"EU"'), "cell id"),
        (good.replace("http://", "ftp://"), "cell_service is a URL"),
    ]:
        path = tmp_path / "wrong.toml"
        path.write_text(wrong)
        with pytest.raises(SettingsError, match=words):
            read(path)
