"""Aliases at a real cell service: claimed before anything is kept, settled after faults, known under each new blinding key."""

import asyncio
import base64
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from cells.aliases import worker
from cells.aliases.sealing import Sealer
from cells.settings import CellSettings
from cells.shards.core import Home
from deploy.local.postgres import PostgresServer
from foundation.blinding import Blinder, BlindingKey
from foundation.decision import RootKey
from foundation.identifiers import IdentifierKind, parse
from foundation.mute import Secret
from foundation.postgres import connect
from tests.stands.cell import Stand, stand
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

OLD, NEW = b"o" * 32, b"n" * 32
ONE = Blinder((BlindingKey("k1", Secret(OLD)),))
BOTH = Blinder((BlindingKey("k2", Secret(NEW)), BlindingKey("k1", Secret(OLD))))


class WithKeys(Stand):
    def settings(self, *args: Any, **more: Any) -> CellSettings:
        plain = super().settings(*args, **more)
        return msgspec.structs.replace(plain, blinding_keyring=str(ring(self.folder, {"k1": OLD}, "k1")))


def ring(folder: Path, keys: dict[str, bytes], current: str) -> Path:
    path = folder / "blinding.json"
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    encoded = {kid: base64.urlsafe_b64encode(key).decode() for kid, key in keys.items()}
    fresh.write_text(json.dumps({"current": current, "keys": encoded}))
    fresh.replace(path)
    return path


@pytest.fixture
async def cell(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stand]:
    async with stand(postgres_server, tmp_path, monkeypatch) as built:
        built.__class__ = WithKeys
        async with built.running():
            yield built


LEASE_S = 4
"""Long enough for three claims and what is done to them before the first runs out."""


async def sign_up(cell: Stand, name: str, *addresses: str) -> httpx.Response:
    aliases = [{"kind": "email", "value": address} for address in addresses]
    headers = cell.signing_up(name) | cell.service()
    return await told(cell, "/cell/signup", headers, {"services": ["orders", "records"], "aliases": aliases})


async def ask(cell: Stand, word: str, subject: str, service: str = "orders", **more: Any) -> httpx.Response:
    return await told(cell, f"/cell/aliases/{word}", cell.service(service), {"subject_id": subject} | more)


async def told(cell: Stand, path: str, headers: dict[str, str], body: dict[str, Any]) -> httpx.Response:
    """The answer; asked again, the very same, as long as the cell says to try again (503): a crowded machine answers late."""
    answer = await cell.http.post(path, headers=headers, json=body)
    for _ in range(10):
        if answer.status_code != 503:
            break
        await asyncio.sleep(int(answer.headers["retry-after"]))
        answer = await cell.http.post(path, headers=headers, json=body)
    return answer


async def claim(cell: Stand, subject: str, address: str, **more: Any) -> httpx.Response:
    return await ask(cell, "claim", subject, kind="email", value=address, **more)


async def leads_to(cell: Stand, address: str, blinder: Blinder = ONE) -> str | None:
    key = blinder.email(address)[0]
    found = (await cell.directory.resolver.post("/v1/resolve", {"keys": [key]})).json()
    return (
        found["found"][key]["subject_id"]
        if key in found["found"]
        else ("unresolved" if found.get("unresolved") else None)
    )


async def rows(cell: Stand) -> Counter[str]:
    counted: Counter[str] = Counter()
    for dsns in cell.dsns.values():
        async with connect(dsns.cell) as connection:
            counted.update(row["state"] for row in await connection.fetch("SELECT state FROM domicile.alias"))
    return counted


def home_of(cell: Stand, subject: str) -> Home:
    home = cell.cell.context.homes.get(subject)
    assert home is not None
    return home


async def test_a_sign_up_claims_places_and_confirms_and_keeps_the_alias_sealed(cell: Stand) -> None:
    done = await sign_up(cell, "ada", "Secret.Name@Example.org")
    assert done.status_code == 201, done.text
    assert await leads_to(cell, "secret.name@example.org") == done.json()["subject_id"]
    assert await rows(cell) == {"committed": 1}
    for dsns in cell.dsns.values():
        async with connect(dsns.cell) as connection:
            for row in await connection.fetch("SELECT alias::text AS text, sealed FROM domicile.alias AS alias"):
                assert b"secret.name" not in row["sealed"].lower()
                assert "secret.name" not in row["text"].lower()


async def test_of_many_sign_ups_for_one_address_one_wins_and_the_losers_leave_nothing(cell: Stand) -> None:
    answers = await asyncio.gather(*(sign_up(cell, f"p{number}", "one@example.org") for number in range(30)))
    told = Counter(answer.json().get("code", "placed") for answer in answers)
    assert told == {"placed": 1, "key_taken": 29}
    assert await rows(cell) == {"committed": 1}
    placed = (await cell.directory.operator.get("/v1/subjects", cell="eu-de")).json()["subjects"]
    assert len(placed) == 1


async def test_a_refused_sign_up_gives_its_claims_back(cell: Stand) -> None:
    await sign_up(cell, "ada")
    again = await sign_up(cell, "ada", "free@example.org")
    assert again.json()["code"] == "key_taken"
    assert await rows(cell) == {}
    bob = await sign_up(cell, "bob", "free@example.org")
    assert bob.status_code == 201, bob.text


async def test_an_alias_is_claimed_proven_and_given_back(cell: Stand) -> None:
    ada, bob = [(await sign_up(cell, name)).json()["subject_id"] for name in ("ada", "bob")]
    claimed = await claim(cell, ada, "a@example.org", lease_s=60)
    assert (claimed.status_code, claimed.json()["state"]) == (201, "claimed")
    assert await leads_to(cell, "a@example.org") is None
    taken = await claim(cell, bob, "A@example.org")
    assert (taken.status_code, taken.json()["code"]) == (409, "key_taken")
    claim_id = claimed.json()["claim_id"]
    assert (await ask(cell, "confirm", bob, claim_id=claim_id)).status_code == 404
    confirmed = await ask(cell, "confirm", ada, claim_id=claim_id)
    assert (confirmed.status_code, confirmed.json()["state"]) == (200, "confirmed"), confirmed.text
    assert (await ask(cell, "confirm", ada, claim_id=claim_id)).json() == confirmed.json()
    assert await leads_to(cell, "a@example.org") == ada
    assert (await ask(cell, "release", ada, claim_id=claim_id)).json()["state"] == "released"
    assert await leads_to(cell, "a@example.org") is None
    assert await rows(cell) == {}


async def test_only_a_service_that_the_person_is_placed_for_claims_and_only_what_is_an_identifier(cell: Stand) -> None:
    ada = (await sign_up(cell, "ada")).json()["subject_id"]
    analytics = await ask(cell, "claim", ada, "analytics", kind="email", value="a@example.org")
    assert (analytics.status_code, analytics.json()["code"]) == (451, "not_placed_for_service")
    assert (await claim(cell, str(uuid.uuid4()), "a@example.org")).json()["code"] == "no_home"
    assert (await claim(cell, ada, "no address")).json()["code"] == "bad_request"
    assert await rows(cell) == {}


async def test_leases_that_ran_out_are_settled_by_what_stands_on_the_shards(cell: Stand) -> None:
    """Wanted only: given back. Committed, the process having died before the directory heard: confirmed. Known to no shard, one having
    been restored from an older backup: unresolved, since that it says nothing is no word that nothing was committed."""
    ada = (await sign_up(cell, "ada")).json()["subject_id"]
    late, kept, lost = [
        (await claim(cell, ada, f"{name}@example.org", lease_s=LEASE_S)).json()["claim_id"]
        for name in ("late", "kept", "lost")
    ]
    async with connect(cell.dsns[home_of(cell, ada).shard].cell) as connection:
        await connection.execute("UPDATE domicile.alias SET state = 'committed' WHERE claim_id = $1", kept)
        await connection.execute("DELETE FROM domicile.alias WHERE claim_id = $1", lost)

    async def states() -> list[str]:
        await worker.settle(cell.cell.aliases)
        told = [(await cell.directory.operator.get(f"/v1/aliases/claims/{one}")).json() for one in (late, kept, lost)]
        return [one["claim"]["state"] for one in told]

    async def settled() -> bool:
        return await states() == ["released", "confirmed", "unresolved"]

    await eventually(settled, s_max=30)
    assert [await leads_to(cell, f"{name}@example.org") for name in ("late", "kept", "lost")] == [
        None,
        ada,
        "unresolved",
    ]
    assert await states() == ["released", "confirmed", "unresolved"]
    assert await rows(cell) == {"committed": 1}


async def test_aliases_are_told_under_a_new_blinding_key_by_the_cell_alone(cell: Stand) -> None:
    done = await sign_up(cell, "ada", "turn@example.org")
    ring(cell.folder, {"k1": OLD, "k2": NEW}, "k2")

    async def known() -> bool:
        await worker.blind_anew(cell.cell.aliases)
        return await leads_to(cell, "turn@example.org", BOTH) == done.json()["subject_id"]

    await eventually(known)
    async with connect(cell.dsns[home_of(cell, done.json()["subject_id"]).shard].cell) as connection:

        async def noted() -> bool:
            return sorted(await connection.fetchval("SELECT kids FROM domicile.alias")) == ["k1", "k2"]

        await eventually(noted)


def test_an_alias_opens_under_its_own_claim_and_any_live_root_only() -> None:
    old, new = RootKey("r1", Secret(b"r" * 32)), RootKey("r2", Secret(b"s" * 32))
    identifier = parse(IdentifierKind.PHONE, "+49 30 1234567")
    one, other = str(uuid.uuid4()), str(uuid.uuid4())
    sealed = Sealer([old]).seal(one, identifier)
    assert Sealer([new, old]).open(one, sealed) == identifier
    assert Sealer([old]).open(other, sealed) is None
    assert Sealer([new]).open(one, sealed) is None
    assert Sealer([old]).open(one, sealed[:-1] + bytes([sealed[-1] ^ 1])) is None
