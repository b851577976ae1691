"""Claims of aliases on a real database: leases, races, what becomes of a claim, what caches hear."""

import uuid
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from directory.placement.core import KeysChange, KeysEvent, PlacementEvent
from foundation.blinding import Blinder, BlindingKey
from foundation.identifiers import IdentifierKind, parse
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.words import LookupKey
from tests.stands.directory import Caller, Running, lookup_key, running_directory
from tests.stands.races import race_of_two
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

OLD, NEW = BlindingKey("k1", Secret(b"o" * 32)), BlindingKey("k2", Secret(b"n" * 32))
BOTH = Blinder((NEW, OLD))
ONE = Blinder((OLD,))


@pytest.fixture
async def running(database: Secret[str], tmp_path: Path) -> AsyncIterator[Running]:
    async with running_directory(database, ServiceIssuer(tmp_path), expiry_check_s=0.05) as one:
        assert (await one.callers.publisher.publish()).status_code == 201
        yield one


def keys(address: str, blinder: Blinder = ONE) -> list[dict[str, str]]:
    made = blinder.alias(parse(IdentifierKind.EMAIL, address))
    return [{"kind": "email", "key": key, "kid": kid} for kid, key in zip(blinder.kids, made, strict=True)]


def email_key(address: str, blinder: Blinder = ONE) -> LookupKey:
    return blinder.email(address)[0]


async def claim(
    cell: Caller, address: str, *, of: str = "eu-de", blinder: Blinder = ONE, **more: Any
) -> httpx.Response:
    body = {"claim_id": str(uuid.uuid4()), "cell": of, "keys": keys(address, blinder), "reason": "test"}
    return await cell.post("/v1/aliases/claim", body | more)


async def settle(caller: Caller, word: str, claimed: httpx.Response, **more: Any) -> httpx.Response:
    body = {"claim_id": claimed.json()["claim"]["claim_id"], "reason": "test"}
    return await caller.post(f"/v1/aliases/{word}", body | more)


async def resolved(running: Running, key: LookupKey) -> dict[str, Any]:
    answer: dict[str, Any] = (await running.callers.resolver.post("/v1/resolve", {"keys": [key]})).json()
    return answer


async def test_a_claim_leads_to_nobody_until_it_is_confirmed(running: Running) -> None:
    calls = running.callers
    ada = await calls.active("ada")
    claimed = await claim(calls.cell, "ada@example.org", subject_id=ada["subject_id"])
    assert claimed.status_code == 201, claimed.text
    told = claimed.json()["claim"]
    assert (told["state"], told["kinds"], told["subject_id"]) == ("claimed", ["email"], ada["subject_id"])
    assert (await resolved(running, email_key("ada@example.org")))["absent"] == [email_key("ada@example.org")]

    confirmed = await settle(calls.cell, "confirm", claimed)
    assert confirmed.json()["claim"]["state"] == "confirmed"
    found = (await resolved(running, email_key("ada@example.org")))["found"]
    assert found[email_key("ada@example.org")]["subject_id"] == ada["subject_id"]
    event = (await calls.resolver.feed(confirmed.json()["as_of"] - 1)).events[0]
    assert isinstance(event, PlacementEvent)
    assert event.keys_added == (email_key("ada@example.org"),)
    assert (await settle(calls.cell, "confirm", claimed)).json() == confirmed.json()


async def test_a_confirmed_alias_can_be_given_back_and_is_somebody_elses_then(running: Running) -> None:
    calls = running.callers
    ada, bob = await calls.active("ada"), await calls.active("bob")
    claimed = await claim(calls.cell, "a@example.org", subject_id=ada["subject_id"])
    await settle(calls.cell, "confirm", claimed)
    assert (await claim(calls.cell, "A@example.org ", subject_id=bob["subject_id"])).json()["code"] == "key_taken"
    released = await settle(calls.cell, "release", claimed)
    event = (await calls.resolver.feed(released.json()["as_of"] - 1)).events[0]
    assert isinstance(event, PlacementEvent)
    assert event.keys_removed == (email_key("a@example.org"),)
    again = await claim(calls.cell, "a@example.org", subject_id=bob["subject_id"])
    assert again.status_code == 201
    refused = await settle(calls.cell, "confirm", claimed)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


async def test_a_lease_that_ran_out_leaves_the_alias_unresolved_until_its_cell_has_spoken(running: Running) -> None:
    calls = running.callers
    first = (await calls.resolver.feed(0)).head
    claimed = await claim(calls.cell, "c@example.org", lease_s=1)
    key = email_key("c@example.org")

    async def unresolved() -> bool:
        return (await resolved(running, key)).get("unresolved") == [key]

    await eventually(unresolved)
    event = (await calls.resolver.feed(first)).events[-1]
    assert isinstance(event, KeysEvent)
    assert (event.change, event.keys) == (KeysChange.UNRESOLVED, (key,))
    refused = await claim(calls.cell_us, "c@example.org", of="us-va")
    assert (refused.status_code, refused.json()["code"], refused.json()["kinds"]) == (409, "key_taken", ["email"])
    assert (await settle(calls.cell_us, "release", claimed)).status_code == 403
    listed = (await calls.cell.get("/v1/aliases", cell="eu-de", state="unresolved")).json()["claims"]
    assert [one["claim_id"] for one in listed] == [claimed.json()["claim"]["claim_id"]]

    assert (await settle(calls.cell, "release", claimed)).json()["claim"]["state"] == "released"
    assert (await resolved(running, key))["absent"] == [key]
    assert (await claim(calls.cell_us, "c@example.org", of="us-va")).status_code == 201


async def test_an_unresolved_claim_can_still_be_confirmed_and_its_history_tells_all(running: Running) -> None:
    calls = running.callers
    ada = await calls.active("ada")
    claimed = await claim(calls.cell, "late@example.org", lease_s=1)
    key = email_key("late@example.org")

    async def unresolved() -> bool:
        return "unresolved" in (await resolved(running, key)) and bool((await resolved(running, key))["unresolved"])

    await eventually(unresolved)
    nobody = await settle(calls.cell, "confirm", claimed)
    assert (nobody.status_code, nobody.json()["code"]) == (400, "bad_request")
    confirmed = await settle(calls.cell, "confirm", claimed, subject_id=ada["subject_id"])
    assert confirmed.status_code == 200, confirmed.text
    assert (await resolved(running, key))["found"][key]["subject_id"] == ada["subject_id"]
    path = f"/v1/aliases/claims/{claimed.json()['claim']['claim_id']}"
    entries = (await calls.operator.get(path)).json()["entries"]
    assert [one["to"] for one in entries] == ["claimed", "unresolved", "confirmed"]
    assert [one["actor"] for one in entries] == ["cell:eu-de", "service:directory", "cell:eu-de"]
    assert (await calls.cell_us.get(path)).status_code == 404


async def test_a_repeated_claim_is_one_claim_and_its_id_serves_no_other(running: Running) -> None:
    calls = running.callers
    first = await claim(calls.cell, "r@example.org")
    claim_id = first.json()["claim"]["claim_id"]
    again = await claim(calls.cell, "r@example.org", claim_id=claim_id)
    assert again.json()["claim"] == first.json()["claim"]
    other = await claim(calls.cell, "s@example.org", claim_id=claim_id)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_a_cell_claims_for_its_own_subjects_only(running: Running) -> None:
    calls = running.callers
    ada = await calls.active("ada")
    assert (await claim(calls.cell, "x@example.org", of="us-va")).status_code == 403
    assert (await claim(calls.operator, "x@example.org")).status_code == 403
    elsewhere = await claim(calls.cell_us, "x@example.org", of="us-va", subject_id=ada["subject_id"])
    nobody = await claim(calls.cell_us, "x@example.org", of="us-va", subject_id=str(uuid.uuid4()))
    assert (elsewhere.status_code, elsewhere.json()["detail"]) == (404, nobody.json()["detail"])
    assert (await claim(calls.cell, "x@example.org")).status_code == 201


async def test_all_keys_are_taken_or_none(running: Running) -> None:
    calls = running.callers
    await claim(calls.cell, "mine@example.org")
    both = [*keys("free@example.org"), *keys("mine@example.org")]
    refused = await calls.cell_us.post(
        "/v1/aliases/claim", {"claim_id": str(uuid.uuid4()), "cell": "us-va", "keys": both, "reason": "test"}
    )
    assert refused.json()["code"] == "key_taken"
    assert (await claim(calls.cell_us, "free@example.org", of="us-va")).status_code == 201


async def test_of_many_claims_in_two_cells_exactly_one_wins(running: Running, database: Secret[str]) -> None:
    """Also those that hold another set of live blinding keys, as during a rotation."""
    calls = running.callers
    cells = ((calls.cell, "eu-de", ONE), (calls.cell_us, "us-va", BOTH))
    asks = [
        partial(claim, cell, "race@example.org", of=of, blinder=blinder)
        for cell, of, blinder in cells
        for _ in range(150)
    ]
    answers = await race_of_two(asks)
    told = Counter(answer.json().get("code", "claimed") for answer in answers)
    assert told == {"claimed": 1, "key_taken": 299}
    async with connect(database) as connection:
        assert await connection.fetchval("SELECT count(*) FROM directory.alias_claim") == 1


async def test_a_placement_and_a_claim_for_one_address_exclude_each_other(running: Running) -> None:
    calls = running.callers
    logins = [[{"kind": "login", "key": lookup_key(f"p{n}")}, *keys("both@example.org")] for n in range(20)]
    places = [partial(calls.operator.place, f"p{n}", keys=logins[n]) for n in range(20)]
    claims = [partial(claim, calls.cell_us, "both@example.org", of="us-va") for _ in range(20)]
    answers = await race_of_two([*places, *claims])
    assert sum(answer.status_code < 300 for answer in answers) == 1
    assert {answer.json()["code"] for answer in answers if answer.status_code >= 300} == {"key_taken"}


async def test_an_erased_reservation_gives_its_claims_back(database: Secret[str], tmp_path: Path) -> None:
    async with running_directory(database, ServiceIssuer(tmp_path), expiry_check_s=0.05, reservation_s=1) as running:
        calls = running.callers
        await calls.publisher.publish()
        placed = (await calls.operator.place("ada")).json()["placement"]
        claimed = await claim(calls.cell, "born@example.org")
        confirmed = await settle(calls.cell, "confirm", claimed, subject_id=placed["subject_id"])
        assert confirmed.status_code == 200, confirmed.text
        key = email_key("born@example.org")

        async def free() -> bool:
            return key in (await resolved(running, key))["absent"]

        await eventually(free)
        assert (await claim(calls.cell_us, "born@example.org", of="us-va")).status_code == 201
        path = f"/v1/aliases/claims/{claimed.json()['claim']['claim_id']}"
        assert (await calls.operator.get(path)).json()["claim"]["state"] == "released"


async def test_keys_under_a_new_blinding_key_lead_to_the_same_person_and_the_old_one_is_retired(
    running: Running,
) -> None:
    calls = running.callers
    gateway = calls.of("gateway:eu", "resolver", "gateway:eu")
    login = [{"kind": "login", "key": key, "kid": "k1"} for key in ONE.login("https://i", "ada")]
    ada = (await calls.operator.place("ada", keys=[*login, *keys("ada@example.org")])).json()["placement"]
    await calls.cell.post(f"/v1/subjects/{ada['subject_id']}/ack", {"epoch": ada["epoch"]})
    alone = await calls.operator.post("/v1/aliases/generations/k1/retire", {"reason": "test"})
    assert (alone.status_code, alone.json()["code"]) == (409, "conflict")

    pairs = [BOTH.login("https://i", "ada"), BOTH.email("ada@example.org")]
    twins = [{"known": old, "keys": [{"kid": "k2", "key": new}]} for new, old in pairs]
    strangers = [{"known": lookup_key("nobody"), "keys": [{"kid": "k2", "key": lookup_key("else")}]}]
    us = calls.of("gateway:us", "resolver", "gateway:us")
    assert (await us.post("/v1/aliases/twins", {"twins": twins})).json() == {"added": 0, "refused": 2}
    assert (await gateway.post("/v1/aliases/twins", {"twins": twins + strangers})).json() == {"added": 2, "refused": 1}
    assert (await gateway.post("/v1/aliases/twins", {"twins": twins})).json() == {"added": 0, "refused": 0}
    told = (await calls.operator.get("/v1/aliases/generations")).json()["generations"]
    assert told == [
        {"kid": "k1", "keys": {"email": 1, "login": 1}, "alone": 0},
        {"kid": "k2", "keys": {"email": 1, "login": 1}, "alone": 0},
    ]

    retired = await calls.operator.post("/v1/aliases/generations/k1/retire", {"reason": "test"})
    assert retired.json() == {"removed": 2, "left": False}
    event = (await calls.resolver.feed(0)).events[-1]
    assert isinstance(event, KeysEvent)
    assert (event.change, set(event.keys)) == (
        KeysChange.RETIRED,
        {ONE.login("https://i", "ada")[0], email_key("ada@example.org")},
    )
    new = BOTH.email("ada@example.org")[0]
    assert (await resolved(running, new))["found"][new]["subject_id"] == ada["subject_id"]
    assert (await calls.operator.get("/v1/aliases/generations")).json()["generations"] == [
        {"kid": "k2", "keys": {"email": 1, "login": 1}, "alone": 2}
    ]


async def test_a_key_of_somebody_else_is_nobodys_twin(running: Running) -> None:
    calls = running.callers
    await calls.active("ada")
    await calls.active("eve")
    stolen = {"known": lookup_key("eve"), "keys": [{"kid": "k2", "key": lookup_key("ada")}]}
    assert (await calls.cell.post("/v1/aliases/twins", {"twins": [stolen]})).json() == {"added": 0, "refused": 1}
