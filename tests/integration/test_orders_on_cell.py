"""The sample product on a real cell: directory, fences and rows on Postgres, its own tables and contracts."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cells.guard.client import CellService
from cells.guard.mount import Guarding
from cells.guard.worker import EpochKeeper
from deploy.local.orders.app import orders_app
from deploy.local.postgres import PostgresServer
from foundation.blinding import LOGIN
from foundation.clock import SystemClock
from foundation.decision import ProvenKey
from foundation.decision_header import ServiceVerifier, service_key
from foundation.http import HttpClient
from foundation.mute import Secret
from foundation.postgres import migrate, migrations_in
from foundation.words import SubjectId, Verb
from tests.stands.cell import ORDERS, ROOT, Stand, stand
from tests.stands.directory import lookup_key
from tests.stands.shard import CELL, rows
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

LOCAL = Path(__file__).parents[2] / "deploy" / "local"
ORDER = {"item": "kettle", "quantity": 1, "total_cents": 4990, "currency": "EUR"}


class Product:
    """The sample product, its guard following a real cell service."""

    def __init__(self, stand: Stand, http: httpx.AsyncClient, keeper: EpochKeeper) -> None:  # noqa: TID251
        self.stand = stand
        self.http = http
        self.keeper = keeper

    async def ask(
        self,
        method: str,
        path: str,
        subject: SubjectId | None,
        epoch: int | None,
        verb: Verb | None = None,
        **options: Any,
    ) -> httpx.Response:
        wanted = verb or (Verb.READ if method == "GET" else Verb.WRITE)
        header = self.stand.decision(subject, epoch, service="orders", verb=wanted)
        return await self.http.request(method, path, headers=header, **options)

    async def sign_up(self, name: str) -> httpx.Response:
        header = self.stand.decision(
            None, None, service="orders", verb=Verb.SIGNUP, keys=(ProvenKey(LOGIN, lookup_key(name)),), residence="DE"
        )
        body = {"name": name, "email": f"{name}@example.de", "birth_date": "1990-02-03", "locale": "de-DE"}
        return await self.http.post("/orders/sign-up", headers=header, json=body)

    async def change(self, subject: SubjectId, what: str, epoch: int) -> int:
        """An operator's change at the directory: the new epoch."""
        body = {"epoch": epoch, "reason": "test"}
        answer = await self.stand.directory.operator.post(f"/v1/subjects/{subject}/{what}", body)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["placement"]["epoch"])

    async def stored(self, table: str) -> list[Any]:
        return [row for dsns in self.stand.dsns.values() for row in await rows(dsns, f"SELECT * FROM product.{table}")]


@pytest.fixture
async def product(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Product]:
    clock = SystemClock()
    async with stand(postgres_server, tmp_path, monkeypatch) as built:
        for dsns in built.dsns.values():
            # The stand's own table of that name gives way to the sample's.
            await rows(dsns, "DROP TABLE product.notes")
            await migrate(dsns.owner, migrations_in(LOCAL / "product"), track="product")
        contracts = tmp_path / "contracts"
        contracts.mkdir()
        notes = LOCAL / "contracts" / "notes.yaml"
        for contract in {*(LOCAL / "contracts").glob("*.yaml")} - {notes}:
            (contracts / contract.name).write_text(contract.read_text())
        async with built.running(notes.read_text()) as cell, asyncio.TaskGroup() as group:
            assert not any(worker.shard.up.tables.refused for worker in cell.shards.values() if worker.shard.up)
            keys = {ROOT.kid: Secret(service_key(ROOT.key.reveal(), ORDERS))}
            verifier = ServiceVerifier(CELL, ORDERS, keys)
            transport = httpx.ASGITransport(app=cell.app)
            async with HttpClient(transport=transport, base_url="http://cell", headers=built.service()) as calls:
                service = CellService(calls, verifier, clock)
                keeper = EpochKeeper(service, clock)
                following = group.create_task(keeper.follow())
                await eventually(lambda: keeper.ready() is None)
                guarded = Guarding(cell=service, keeper=keeper, verifier=verifier, clock=clock)
                app = orders_app(ORDERS, guarded, ready=keeper.ready)
                async with HttpClient(transport=httpx.ASGITransport(app=app), base_url="http://orders") as http:
                    yield Product(built, http, keeper)
                following.cancel()
                await keeper.aclose()


async def test_a_person_signs_up_orders_and_stays_at_home(product: Product) -> None:
    signed_up = await product.sign_up("anna")
    assert signed_up.status_code == 201, signed_up.text
    subject, epoch = SubjectId(signed_up.json()["subject_id"]), signed_up.json()["epoch"]
    assert "internal_score" not in signed_up.json()["profile"]

    created = await product.ask("POST", "/orders", subject, epoch, json=ORDER | {"note": "by the door"})
    assert created.status_code == 201, created.text
    path = created.headers["location"]
    changed = await product.ask("PATCH", path, subject, epoch, json={"quantity": 3})
    assert changed.json()["quantity"] == 3
    assert [row["id"] for row in (await product.ask("GET", "/orders", subject, epoch)).json()["orders"]] == [
        created.json()["id"]
    ]
    profile = (await product.ask("GET", "/orders/profile", subject, epoch)).json()
    assert (profile["display_name"], profile["email"]) == ("anna", "anna@example.de")
    cleared = await product.ask("PATCH", "/orders/profile", subject, epoch, json={"phone": "+49 30 1", "locale": None})
    assert (cleared.json()["phone"], cleared.json()["locale"]) == ("+49 30 1", None)

    assert [str(row["subject_id"]) for row in await product.stored("profiles")] == [subject]
    assert [str(row["subject_id"]) for row in await product.stored("orders")] == [subject]
    assert (await product.ask("DELETE", path, subject, epoch)).status_code == 204
    assert await product.stored("orders") == []


async def test_a_repeated_sign_up_finishes_what_was_left_half_done(product: Product) -> None:
    subject, epoch = await product.stand.place("anna")
    for status, phone in ((201, "1"), (200, "2")):
        answer = await product.ask("POST", "/orders/sign-up", subject, epoch, json={"name": "Anna", "phone": phone})
        assert (answer.status_code, answer.json()["profile"]["phone"]) == (status, phone)
    assert len(await product.stored("profiles")) == 1


async def test_a_taken_lookup_key_is_passed_through_and_stores_nothing(product: Product) -> None:
    assert (await product.sign_up("anna")).status_code == 201
    answer = await product.sign_up("anna")
    assert (answer.status_code, answer.json()["code"]) == (409, "key_taken")
    assert len(await product.stored("profiles")) == 1


async def test_a_new_epoch_refuses_the_old_one_and_tells_the_new(product: Product) -> None:
    subject, old = await product.stand.place()
    assert (await product.ask("GET", "/orders", subject, old)).status_code == 200
    new = await product.change(subject, "epoch", old)
    await eventually(lambda: product.keeper.known(subject).epoch == new)  # type: ignore[union-attr]
    refused = await product.ask("POST", "/orders", subject, old, json=ORDER)
    assert (refused.status_code, refused.headers["domicile-refusal"]) == (409, "stale_epoch")
    assert refused.headers["domicile-epoch"] == str(new)
    assert (await product.ask("POST", "/orders", subject, new, json=ORDER)).status_code == 201


async def test_a_frozen_person_reads_and_does_not_write(product: Product) -> None:
    subject, epoch = await product.stand.place()
    await product.ask("POST", "/orders", subject, epoch, json=ORDER)
    epoch = await product.change(subject, "freeze", epoch)
    await eventually(lambda: product.stand.stands(subject, epoch, "frozen"))
    assert len((await product.ask("GET", "/orders", subject, epoch)).json()["orders"]) == 1
    refused = await product.ask("POST", "/orders", subject, epoch, json=ORDER)
    assert (refused.status_code, refused.headers["domicile-refusal"]) == (503, "subject_frozen")


async def test_values_that_the_tables_refuse_come_back_as_bad_requests(product: Product) -> None:
    subject, epoch = await product.stand.place()
    again = ORDER | {"id": "7d0f6a5c-3b7e-4c3b-9d1e-0a1b2c3d4e5f"}
    assert (await product.ask("POST", "/orders", subject, epoch, json=again)).status_code == 201
    conflict = await product.ask("POST", "/orders", subject, epoch, json=again)
    assert (conflict.status_code, "domicile-refusal" in conflict.headers) == (409, False)
    nul = await product.ask("POST", "/orders", subject, epoch, json=ORDER | {"note": "a\x00b"})
    assert nul.status_code == 400
