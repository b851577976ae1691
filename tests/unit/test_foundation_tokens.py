"""What the token verifier refuses, and how often it may be made to fetch keys."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from foundation.clock import ManualClock
from foundation.tokens import TOKEN_BYTES_MAX, Jwks, JwksUnavailable, TokenFile, TokenRefused, TokenVerifier, parse_jwks
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

ISSUER, AUDIENCE = "https://issuer.example", "product"
ES = ec.generate_private_key(ec.SECP256R1())
ES_NEXT = ec.generate_private_key(ec.SECP256R1())
RS = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


class Source:
    """A JWKS document that can change, fail and hang."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.fetches = 0
        self.dark = False
        self.gate: asyncio.Event | None = None

    async def __call__(self) -> bytes:
        self.fetches += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.dark:
            raise JwksUnavailable("dark")
        return json.dumps({"keys": self.keys}).encode()


class Case:
    def __init__(self, *keys: dict[str, Any]) -> None:
        self.clock = ManualClock()
        self.source = Source(*keys)
        self.jwks = Jwks(self.source, self.clock)
        self.verifier = TokenVerifier({ISSUER: (AUDIENCE, self.jwks)}, self.clock)

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(self.clock.unix_s())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "iat": now, "exp": now + 60} | changes
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, key: Any = ES, kid: str = "es", algorithm: str = "ES256", **changes: Any) -> str:
        return jwt.encode(self.claims(**changes), key, algorithm=algorithm, headers={"kid": kid})

    async def refusal(self, token: str) -> str:
        with pytest.raises(TokenRefused) as caught:
            await self.verifier.verify(token)
        return caught.value.reason


@pytest.fixture
def case() -> Case:
    return Case(jwk(ES, "es"), jwk(RS, "rs"))


def raw(header: bytes, claims: bytes, signature: bytes = b"x") -> str:
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (header, claims, signature))


async def test_es256_and_rs256_pass(case: Case) -> None:
    assert (await case.verifier.verify(case.token()))["sub"] == "anna"
    assert (await case.verifier.verify(case.token(RS, "rs", "RS256")))["sub"] == "anna"


async def test_none_is_refused(case: Case) -> None:
    for name in ("none", "None", "NONE", ""):
        token = raw(json.dumps({"alg": name, "kid": "es"}).encode(), json.dumps(case.claims()).encode(), b"")
        assert await case.refusal(token) == "algorithm"


async def test_hmac_with_the_public_key_is_refused(case: Case) -> None:
    public = RS.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for algorithm in ("HS256", "HS384", "HS512"):
        head = raw(json.dumps({"alg": algorithm, "kid": "rs"}).encode(), json.dumps(case.claims()).encode())
        signed = head.rsplit(".", 1)[0]
        mac = hmac.digest(public, signed.encode(), hashlib.sha256)
        token = signed + "." + base64.urlsafe_b64encode(mac).decode().rstrip("=")
        assert await case.refusal(token) == "algorithm"


async def test_a_symmetric_key_in_the_key_set_is_no_key() -> None:
    case = Case({"kty": "oct", "k": base64.urlsafe_b64encode(b"s" * 32).decode(), "kid": "hs", "alg": "HS256"})
    token = jwt.encode(case.claims(), b"s" * 32, algorithm="HS256", headers={"kid": "hs"})
    assert await case.refusal(token) == "algorithm"
    assert parse_jwks(await case.source()) == {}


async def test_an_algorithm_that_does_not_fit_the_key_is_refused(case: Case) -> None:
    assert await case.refusal(case.token(ES, "rs")) == "algorithm"
    assert await case.refusal(case.token(RS, "es", "RS256")) == "algorithm"


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
async def test_other_algorithms_are_refused(case: Case, algorithm: str) -> None:
    assert await case.refusal(case.token(RS, "rs", algorithm)) == "algorithm"


async def test_a_signature_of_another_key_is_refused(case: Case) -> None:
    assert await case.refusal(case.token(ES_NEXT)) == "signature"


async def test_a_claim_changed_after_signing_is_refused(case: Case) -> None:
    head, _, signature = case.token().split(".")
    forged = base64.urlsafe_b64encode(json.dumps(case.claims(sub="bert")).encode()).decode().rstrip("=")
    assert await case.refusal(f"{head}.{forged}.{signature}") == "signature"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://other.example"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"iss": 7}, "issuer"),
        ({"aud": "other"}, "audience"),
        ({"aud": ["a", "b"]}, "audience"),
        ({"aud": None}, "claims"),
        ({"sub": None}, "claims"),
        ({"sub": ""}, "claims"),
        ({"sub": 7}, "claims"),
        ({"exp": None}, "claims"),
        ({"exp": "tomorrow"}, "claims"),
        ({"exp": True}, "claims"),
        ({"exp": float("nan")}, "claims"),
        ({"exp": 10**400}, "claims"),
        ({"exp": float("inf")}, "claims"),
        ({"nbf": float("nan")}, "claims"),
        ({"nbf": []}, "claims"),
    ],
)
async def test_claims_that_do_not_hold_are_refused(case: Case, changes: dict[str, Any], reason: str) -> None:
    claims = json.dumps(case.claims(**changes)).encode()
    signed = raw(json.dumps({"alg": "ES256", "kid": "es"}).encode(), claims).rsplit(".", 1)[0]
    signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(signed.encode(), ES)
    token = signed + "." + base64.urlsafe_b64encode(signature).decode().rstrip("=")
    assert await case.refusal(token) == reason


async def test_several_audiences_pass_when_ours_is_among_them(case: Case) -> None:
    assert await case.verifier.verify(case.token(aud=["other", AUDIENCE]))


async def test_times_hold_within_the_skew_bound_and_no_further(case: Case) -> None:
    now = int(case.clock.unix_s())
    assert await case.verifier.verify(case.token(exp=now - 1))
    assert await case.verifier.verify(case.token(nbf=now + 2, iat=now + 2))
    assert await case.refusal(case.token(exp=now - 2)) == "expired"
    assert await case.refusal(case.token(nbf=now + 3)) == "not_yet"
    assert await case.refusal(case.token(iat=now + 3)) == "not_yet"
    assert await case.verifier.verify(case.token(exp=10**30))


@pytest.mark.parametrize(
    "token",
    [
        "", ".", "..", "a.b", "a.b.c.d", "é.é.é", "x" * (TOKEN_BYTES_MAX + 1),
        raw(b"[]", b"{}"), raw(b"{}", b"[]"), raw(b"\xff", b"{}"), raw(b'{"alg":"ES256","kid":7}', b'{"iss":"x"}'),
        raw(b'{"alg":"ES256","kid":"es"}', b"{" * 3000), raw(b"[" * 3000, b"{}"),
        raw(b'{"alg":"ES256","kid":"es"}', b'{"iss":' + b"[" * 2000 + b"]" * 2000 + b"}"),
    ],
)  # fmt: skip
async def test_what_is_no_token_is_refused_as_such(case: Case, token: str) -> None:
    assert await case.refusal(token) in ("shape", "issuer")


@pytest.mark.parametrize("algorithm", [[], {}, 7, None, ["ES256"]])
async def test_an_algorithm_that_is_no_text_is_refused(case: Case, algorithm: Any) -> None:
    token = raw(json.dumps({"alg": algorithm, "kid": "es"}).encode(), json.dumps(case.claims()).encode())
    assert await case.refusal(token) in ("algorithm", "shape")


async def test_a_token_without_kid_is_refused(case: Case) -> None:
    assert await case.refusal(jwt.encode(case.claims(), ES, algorithm="ES256")) == "kid"


# --- key sets ----------------------------------------------------------------------------------------------------------------


async def test_a_rotated_key_is_found_and_a_withdrawn_one_is_refused(case: Case) -> None:
    assert await case.verifier.verify(case.token())
    case.source.keys = [jwk(ES_NEXT, "next")]
    case.clock.advance(6)
    assert await case.verifier.verify(case.token(ES_NEXT, "next"))
    assert await case.refusal(case.token()) == "kid"


async def test_a_flood_of_unknown_kids_fetches_once_per_cooldown(case: Case) -> None:
    for number in range(500):
        assert await case.refusal(case.token(kid=f"unknown-{number}")) == "kid"
    assert case.source.fetches == 1
    case.clock.advance(5)
    for number in range(500):
        assert await case.refusal(case.token(kid=f"unknown-{number}")) == "kid"
    assert case.source.fetches == 2


async def test_concurrent_askers_share_one_fetch(case: Case) -> None:
    case.source.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(case.verifier.verify(case.token())) for _ in range(50)]
        await eventually(lambda: case.source.fetches == 1)
        case.source.gate.set()
    assert {task.result()["sub"] for task in tasks} == {"anna"}
    assert case.source.fetches == 1


async def test_without_any_key_set_nothing_is_said_about_a_token(case: Case) -> None:
    case.source.dark = True
    with pytest.raises(JwksUnavailable):
        await case.verifier.verify(case.token())


async def test_a_dark_issuer_keeps_known_keys_serving_and_keeps_nobody_waiting(case: Case) -> None:
    assert await case.verifier.verify(case.token())
    case.source.dark = True
    case.clock.advance(400)
    assert await case.verifier.verify(case.token())
    case.clock.advance(6)
    case.source.gate = asyncio.Event()
    async with asyncio.timeout(2):
        assert await case.verifier.verify(case.token())
    await eventually(lambda: case.source.fetches == 3)
    await case.jwks.aclose()


async def test_old_keys_are_fetched_again(case: Case) -> None:
    assert await case.verifier.verify(case.token())
    case.source.keys = []
    case.clock.advance(301)
    assert await case.refusal(case.token()) == "kid"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: {**key, "use": "enc"},
        lambda key: {**key, "alg": "ES512"},
        lambda key: {**key, "crv": "P-521"},
        lambda key: {name: value for name, value in key.items() if name != "kid"},
        lambda key: {**key, "kid": 7},
        lambda key: {**key, "x": "!!"},
        lambda key: "key",
    ],
)
def test_keys_that_may_not_verify_are_left_out(spoil: Callable[[dict[str, Any]], Any]) -> None:
    document = json.dumps({"keys": [spoil(jwk(ES, "es")), jwk(RS, "rs")]}).encode()
    assert list(parse_jwks(document)) == ["rs"]


def test_a_token_file_is_read_again_when_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one\n")
    source = TokenFile(path)
    assert source.token().reveal() == "one"
    (tmp_path / "next").write_text("two\n")
    (tmp_path / "next").replace(path)
    assert source.token().reveal() == "two"
