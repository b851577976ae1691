"""Services that act for a subject, on real servers: inside their bounds and their jurisdiction, on record before it happens."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from foundation.decision import Decision
from foundation.http import HttpClient
from foundation.ledger.entries import Single
from foundation.ledger.port import Event, Kind
from foundation.words import mint_subject_id
from tests.stands.accesses import accesses_in
from tests.stands.edge import CLOCK, placement, service_verifier
from tests.stands.mirrors import Mirror
from tests.stands.product_loop import anyio_backend
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.travel import code, world

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio


def decision_of(response: httpx.Response) -> Decision:
    header = response.json()["headers"]["domicile-decision"]
    return service_verifier("eu-de", "orders").verify(header, CLOCK.unix_s())


async def test_a_named_service_reads_for_a_subject_by_id_and_by_lookup_key(folder: Path) -> None:
    async with world(folder, eu_orders=Mirror("eu-de")) as stand, HttpClient(base_url=stand.eu.url) as http:
        subject = stand.settle("ann", placement())
        key = stand.blinder.login(stand.people.issuer, "ann")[0]
        for named in (subject, f"key:{key}"):
            headers = stand.actor("support-desk") | {"domicile-for": named}
            response = await http.get("/orders/1", headers=headers)
            assert (response.status_code, response.headers["domicile-verdict"]) == (200, "serve")
            decision = decision_of(response)
            assert (decision.subject, decision.actor) == (subject, "service:support-desk")
            assert not {"authorization", "domicile-for"} & set(response.json()["headers"])
        records = accesses_in(stand.eu.recorder)
        assert [(one.kind, one.actor, one.subject_id) for one in records] == [
            (Kind.ACCESS, "service:support-desk", subject)
        ] * 2
        details = json.loads(bytes(records[0].details))
        assert (details["service"], details["verb"], details["cell"]) == ("orders", "read", "eu-de")
        assert records[0].id != records[1].id


async def test_an_access_that_cannot_be_recorded_does_not_happen(folder: Path) -> None:
    berlin = Mirror("eu-de")
    async with world(folder, eu_orders=berlin, pending_max=1) as stand, HttpClient(base_url=stand.eu.url) as http:
        headers = stand.actor("support-desk") | {"domicile-for": stand.settle("ann", placement())}
        assert (await http.get("/orders/1", headers=headers)).status_code == 200
        assert code(await http.get("/orders/1", headers=headers)) == (503, "not_ready")
        assert berlin.calls == 1


async def test_everybody_else_is_forbidden(folder: Path) -> None:
    berlin = Mirror("eu-de")
    async with world(folder, eu_orders=berlin) as stand, HttpClient(base_url=stand.eu.url) as http:
        subject = {"domicile-for": stand.settle("ann", placement())}
        stranger = ServiceIssuer(folder)  # the same name, another key
        no_role = stand.tokens.headers("service:support-desk", ["service:support-desk@eu-de"])
        two_roles = stand.tokens.headers("service:support-desk", ["actor:support-desk", "actor:us-desk"])
        lent = stand.tokens.headers("service:orders", ["actor:support-desk"])
        malformed = {
            "authorization": f"Bearer {stand.tokens.token('service:support-desk', ['actor:support-desk'], act={'verb': 1})}"
        }
        for headers in (
            stand.bearer("ann"),  # a person, for herself
            stand.bearer("eve"),
            no_role,
            two_roles,
            lent,
            malformed,
            stand.actor("unheard-of"),
        ):
            assert code(await http.get("/orders/1", headers=headers | subject)) == (403, "forbidden")
        forged = stranger.headers("service:support-desk", ["actor:support-desk"])
        for headers in ({}, forged, stand.actor("support-desk", ttl_s=-60), {"authorization": "Basic x"}):
            response = await http.get("/orders/1", headers=headers | subject)
            assert code(response) == (401, "unauthenticated")
            assert response.headers["www-authenticate"].startswith("Bearer")
        assert berlin.calls == 0


@pytest.mark.parametrize("named", ["", "ann", "key:short", "key:", "0b4a1f6e"])
async def test_a_name_that_names_nobody_is_a_bad_request(folder: Path, named: str) -> None:
    async with world(folder, eu_orders=Mirror("eu-de")) as stand, HttpClient(base_url=stand.eu.url) as http:
        response = await http.get("/orders/1", headers=stand.actor("support-desk") | {"domicile-for": named})
        assert code(response) == (400, "bad_request")


async def test_a_header_that_stands_twice_or_is_misspelt_names_nobody(folder: Path) -> None:
    async with world(folder, eu_orders=Mirror("eu-de")) as stand, HttpClient(base_url=stand.eu.url) as http:
        subject = stand.settle("ann", placement())
        own = list(stand.actor("support-desk").items())
        for names in (["domicile-for", "domicile-for"], ["domicile_for"], ["domicile-for", "domicile_for"]):
            response = await http.get("/orders/1", headers=[*own, *((name, subject) for name in names)])
            assert code(response) == (400, "bad_request")


async def test_who_is_nobody_and_who_is_a_stranger_are_refused_in_the_same_words(folder: Path) -> None:
    """A service does not learn whether an id or a key outside its jurisdictions belongs to anybody."""
    async with world(folder, eu_orders=Mirror("eu-de")) as stand, HttpClient(base_url=stand.eu.url) as http:
        american = stand.settle("bob", placement("us-va"))
        key = stand.blinder.login(stand.people.issuer, "bob")[0]
        nobody = (mint_subject_id(), f"key:{stand.blinder.login(stand.people.issuer, 'nobody')[0]}")
        answers = []
        for named in (american, f"key:{key}", *nobody):
            response = await http.get("/orders/1", headers=stand.actor("support-desk") | {"domicile-for": named})
            assert code(response) == (403, "forbidden")
            answers.append((response.content, sorted(response.headers.items())))
        assert answers == answers[:1] * 4
        stand.eu.homes.dark = True
        headers = stand.actor("support-desk") | {"domicile-for": mint_subject_id()}
        assert code(await http.get("/orders/1", headers=headers)) == (503, "home_unknown")


@pytest.mark.parametrize(
    ("side", "actor", "home", "expected"),
    [
        ("us", "support-desk", "eu-de", (451, "residency_refused")),  # asks in another region: not carried, not sent
        ("eu", "us-desk", "eu-de", (451, "residency_refused")),  # acts from another jurisdiction
        ("eu", "us-desk", "us-va", (451, "residency_refused")),  # asks away from the subject's home
        ("eu", "support-desk", "us-va", (403, "forbidden")),  # policy does not name the subject's jurisdiction
        ("us", "us-desk", "us-va", (200, None)),
    ],
)
async def test_across_a_border_nobody_acts(
    folder: Path, side: str, actor: str, home: str, expected: tuple[int, Any]
) -> None:
    berlin, virginia = Mirror("eu-de"), Mirror("us-va")
    async with world(folder, eu_orders=berlin, us_orders=virginia) as stand, HttpClient() as http:
        here = {"eu": stand.eu, "us": stand.us}[side]
        subject = stand.settle("ann", placement(home))
        response = await http.get(f"{here.url}/orders/1", headers=stand.actor(actor) | {"domicile-for": subject})
        assert (response.status_code, response.json().get("code")) == expected
        assert "location" not in response.headers
        assert stand.eu.cell.crossings == stand.us.cell.crossings == []
        assert berlin.calls + virginia.calls == (1 if expected[0] == 200 else 0)
        found: list[Event | Single] = [*here.recorder._pending, *accesses_in(here.recorder)]
        (event,) = found
        assert (event.actor, event.subject_id) == (f"service:{actor}", subject)
        assert event.kind == (Kind.ACCESS if expected[0] == 200 else Kind.REFUSAL)


async def test_a_token_narrows_what_policy_allows(folder: Path) -> None:
    async with (
        world(folder, eu_orders=Mirror("eu-de"), us_orders=Mirror("us-va")) as stand,
        HttpClient(base_url=stand.us.url) as http,
    ):
        subject = {"domicile-for": stand.settle("bob", placement("us-va"))}
        reading = stand.actor("us-desk", act={"verbs": ["read"]}) | subject
        assert (await http.get("/orders/1", headers=reading)).status_code == 200
        assert code(await http.post("/orders/1", headers=reading)) == (403, "forbidden")
        assert (await http.post("/orders/1", headers=stand.actor("us-desk") | subject)).status_code == 200
        none = stand.actor("us-desk", act={"services": []}) | subject
        assert code(await http.get("/orders/1", headers=none)) == (403, "forbidden")


async def test_a_service_token_without_a_name_is_nobody(folder: Path) -> None:
    async with world(folder, eu_orders=Mirror("eu-de")) as stand, HttpClient(base_url=stand.eu.url) as http:
        stand.settle("ann", placement())
        assert code(await http.get("/orders/1", headers=stand.actor("support-desk"))) == (401, "unauthenticated")
