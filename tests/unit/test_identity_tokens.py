"""Identities: verified once, remembered within bounds, and never longer than the token."""

from pathlib import Path
from typing import Any

import pytest

from foundation.blinding import Blinder, BlindingKey
from foundation.clock import ManualClock
from foundation.mute import Secret
from foundation.settings import SettingsError
from foundation.tokens import JwksUnavailable, TokenRefused
from gateway.identity import tokens
from gateway.identity.address import parse
from gateway.identity.country import CountryDatabase
from gateway.identity.identity import Identity
from gateway.identity.tokens import Identities, Unidentified, bearer

pytestmark = pytest.mark.anyio
BLINDER = Blinder((BlindingKey("b2", Secret(b"2" * 32)), BlindingKey("b1", Secret(b"1" * 32))))


class Verifier:
    """The port `gateway.identity.tokens.Verifier` over a table of answers."""

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Any] | Exception] = {}
        self.asked = 0

    async def verify(self, token: str) -> dict[str, Any]:
        self.asked += 1
        answer = self.answers.get(token, TokenRefused("signature"))
        if isinstance(answer, Exception):
            raise answer
        return answer


def claims(clock: ManualClock, **more: Any) -> dict[str, Any]:
    return {"iss": "i", "sub": "ann", "exp": clock.unix_s() + 60} | more


async def test_a_token_is_verified_once_and_remembered_until_it_runs_out() -> None:
    clock, verifier = ManualClock(), Verifier()
    identities = Identities(verifier, BLINDER, clock)
    verifier.answers["t"] = claims(clock)
    assert identities.known(b"Bearer t") is None
    found = await identities.establish(b"Bearer t")
    assert isinstance(found, Identity)
    assert found.login == BLINDER.login("i", "ann")
    assert len(found.login) == 2
    assert identities.known(b"Bearer t") is found
    clock.advance(61)
    assert identities.known(b"Bearer t") is None
    assert verifier.asked == 1


async def test_of_tokens_that_nobody_shows_again_nothing_stays_long() -> None:
    clock, verifier = ManualClock(), Verifier()
    identities = Identities(verifier, BLINDER, clock)
    for number in range(1_000):
        verifier.answers[f"t{number}"] = claims(clock, sub=f"somebody {number}")
        await identities.establish(b"Bearer t%d" % number)
        clock.advance(1)
    assert identities.size <= 61
    assert isinstance(identities.known(b"Bearer t999"), Identity)


async def test_a_long_lived_token_is_verified_again_after_the_bound() -> None:
    clock, verifier = ManualClock(), Verifier()
    identities = Identities(verifier, BLINDER, clock)
    verifier.answers["t"] = claims(clock, exp=clock.unix_s() + 86_400)
    await identities.establish(b"Bearer t")
    clock.advance(tokens.REMEMBERED_S_MAX + 1)
    assert identities.known(b"Bearer t") is None


async def test_only_verified_addresses_become_keys() -> None:
    clock, verifier = ManualClock(), Verifier()
    identities = Identities(verifier, BLINDER, clock)
    verifier.answers["v"] = claims(clock, email="Ann@Example.com ", email_verified=True)
    verifier.answers["u"] = claims(clock, email="ann@example.com", email_verified=False)
    verifier.answers["s"] = claims(clock, email="ann@example.com", email_verified="true")
    verified, unverified, stringly = [await identities.establish(b"Bearer " + t) for t in (b"v", b"u", b"s")]
    assert isinstance(verified, Identity)
    assert verified.email == BLINDER.email("ann@example.com")
    assert isinstance(unverified, Identity)
    assert unverified.email == ()
    assert isinstance(stringly, Identity)
    assert stringly.email == ()


async def test_refusals_are_remembered_for_a_moment() -> None:
    clock, verifier = ManualClock(), Verifier()
    identities = Identities(verifier, BLINDER, clock)
    assert await identities.establish(b"Bearer bad") is Unidentified.REFUSED
    assert identities.known(b"Bearer bad") is Unidentified.REFUSED
    clock.advance(tokens.REFUSAL_S + 0.1)
    assert identities.known(b"Bearer bad") is None


async def test_an_issuer_that_cannot_be_asked_is_not_remembered() -> None:
    clock, verifier = ManualClock(), Verifier()
    identities = Identities(verifier, BLINDER, clock)
    verifier.answers["t"] = JwksUnavailable("down")
    assert await identities.establish(b"Bearer t") is Unidentified.KEYS_UNAVAILABLE
    assert identities.known(b"Bearer t") is None


async def test_both_memories_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "IDENTITIES_MAX", 3)
    monkeypatch.setattr(tokens, "REFUSALS_MAX", 3)
    clock, verifier = ManualClock(), Verifier()
    identities = Identities(verifier, BLINDER, clock)
    for number in range(10):
        verifier.answers[f"t{number}"] = claims(clock, sub=str(number))
        await identities.establish(b"Bearer t%d" % number)
        await identities.establish(b"Bearer bad%d" % number)
    assert identities.size == 3
    assert identities.known(b"Bearer t9") is not None
    assert identities.known(b"Bearer t0") is None
    assert identities.known(b"Bearer bad0") is None


@pytest.mark.parametrize("header", [b"Basic abc", b"Bearer", b"Bearer ", b"Bearer a b", b"Bearer \xff", b""])
def test_what_is_no_bearer_token_is_none(header: bytes) -> None:
    assert bearer(header) is None


def test_the_bundled_database_knows_countries() -> None:
    with CountryDatabase() as database:
        for text, country in (("8.8.8.8", "US"), ("2a00:1450:4001::1", None), ("127.0.0.1", None)):
            address = parse(text)
            assert address is not None
            found = database.of(address)
            assert found == country if text in ("8.8.8.8", "127.0.0.1") else found is not None


def test_a_file_that_is_no_database_is_refused(folder: Path) -> None:
    (folder / "x.mmdb").write_bytes(b"nothing")
    with pytest.raises(SettingsError):
        CountryDatabase(str(folder / "x.mmdb"))
