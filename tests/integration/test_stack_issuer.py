"""The development token issuer, as a process: its tokens hold, keys rotate and outlive it, web pages get nothing."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from foundation.clock import SystemClock
from foundation.http import client, token_verifier
from foundation.tokens import Issuer, TokenVerifier
from tests.stands.stack import Run, stack

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with stack(tmp_path_factory.mktemp("issuer") / "state", "issuer-eu") as running:
        yield running


@pytest.fixture
def url(run: Run) -> str:
    return str(run.document()["regions"]["eu"]["issuer"])


@pytest.fixture
async def verifier(url: str) -> AsyncIterator[TokenVerifier]:
    async with client() as http:
        issuer = Issuer(issuer=url, audience="domicile-demo", jwks=f"{url}/jwks")
        yield token_verifier([issuer], http, SystemClock())


def minted(url: str, body: dict[str, object]) -> dict[str, Any]:
    answer = httpx.post(f"{url}/mint", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rotate(url: str) -> None:
    assert httpx.post(f"{url}/rotate").status_code == 200


def kids(url: str) -> set[str]:
    return {key["kid"] for key in httpx.get(f"{url}/jwks").json()["keys"]}


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
async def test_minted_tokens_hold_under_the_published_keys(url: str, alg: str, verifier: TokenVerifier) -> None:
    body = {"sub": "anna", "email": "anna@example.com", "email_verified": True, "claims": {"tenant": "t"}, "alg": alg}
    answer = minted(url, body)
    claims = await verifier.verify(answer["access_token"])
    assert (claims["sub"], claims["email_verified"], claims["tenant"]) == ("anna", True, "t")
    assert answer["expires_in"] == claims["exp"] - claims["iat"]


def test_discovery_leads_to_the_keys(url: str) -> None:
    document = httpx.get(f"{url}/.well-known/openid-configuration").json()
    assert document["issuer"] == url
    assert {key["kty"] for key in httpx.get(document["jwks_uri"]).json()["keys"]} == {"RSA", "EC"}
    assert not any("d" in key for key in httpx.get(document["jwks_uri"]).json()["keys"])


async def test_after_a_rotation_new_keys_sign_and_old_tokens_hold_still(url: str, verifier: TokenVerifier) -> None:
    old = minted(url, {"sub": "anna"})["access_token"]
    before = kids(url)
    rotate(url)
    assert before < kids(url)
    new = minted(url, {"sub": "anna"})["access_token"]
    assert (await verifier.verify(old))["sub"] == (await verifier.verify(new))["sub"] == "anna"


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"host": "evil.example"}])
def test_web_pages_get_no_tokens(url: str, headers: dict[str, str]) -> None:
    assert httpx.post(f"{url}/mint", json={"sub": "anna"}, headers=headers).status_code == 403
    assert httpx.post(f"{url}/rotate", headers=headers).status_code == 403


@pytest.mark.parametrize("body", [{}, {"sub": "a", "alg": "none"}, {"sub": "a", "alg": "HS256"}, {"sub": "a", "x": 1}])
def test_a_malformed_wish_is_refused(url: str, body: dict[str, object]) -> None:
    assert httpx.post(f"{url}/mint", json=body).status_code == 400


def test_keys_outlive_the_process(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with stack(state, "issuer-us") as first:
        before = httpx.get(f"{first.document()['regions']['us']['issuer']}/jwks").json()
    with stack(state, "issuer-us") as second:
        assert httpx.get(f"{second.document()['regions']['us']['issuer']}/jwks").json() == before
