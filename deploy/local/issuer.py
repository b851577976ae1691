"""Development token issuer (OpenID Connect discovery, JWKS, minting, rotation on demand). For the embedded stack only: whoever
reaches its port gets tokens for anybody.

It listens on loopback and answers no web page: a request with an `Origin`, or for another host name than its own (DNS rebinding),
is refused.
"""

import argparse
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from deploy.local import files
from foundation.clock import Clock, SystemClock
from foundation.http import application, body_json, json_response
from foundation.problems import Code, refuse
from foundation.server import Drain, run, serve
from foundation.settings import SettingsError, load

TTL_S = 600
TTL_S_MAX = 86_400
GENERATIONS_MAX = 8
"""Key pairs of each algorithm that the JWKS names; rotating more often drops the oldest early."""
RETIRED_S = TTL_S_MAX
"""How long a key that no longer signs stays in the JWKS: until no token of it can be valid."""
_RESERVED = frozenset({"iss", "aud", "sub", "iat", "exp", "nbf", "email", "email_verified"})
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class IssuerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`issuer` is this process's URL as tokens name it; `state_file` keeps keys over a restart (0600)."""

    host: str
    port: int
    issuer: str
    audience: str
    state_file: str


class _Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One RSA and one P-256 key (PKCS #8 PEM). `retired_at` is None for the one that signs."""

    kid: str
    rsa: str
    ec: str
    retired_at: float | None = None


class Mint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /mint`. `claims` are added as they are; they may not replace what the issuer states itself."""

    sub: str
    email: str | None = None
    email_verified: bool | None = None
    claims: dict[str, Any] = {}
    ttl_s: int = TTL_S
    alg: str = "ES256"


# --- keys --------------------------------------------------------------------------------------------------------------------


def rotated(held: tuple[_Generation, ...], new: _Generation, now: float) -> tuple[_Generation, ...]:
    """`new` signs; those before retire, and leave the set when their tokens have run out. Newest first. Pure."""
    retired = (
        msgspec.structs.replace(each, retired_at=now) if each.retired_at is None else each
        for each in held
        if each.retired_at is None or now - each.retired_at <= RETIRED_S
    )
    return (new, *retired)[:GENERATIONS_MAX]


def _new_generation() -> _Generation:
    return _Generation(
        kid=secrets.token_hex(4),
        rsa=_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        ec=_pem(ec.generate_private_key(ec.SECP256R1())),
    )


def _pem(key: PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


class Keys:
    """The issuer's keys, in a file; the newest sign."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Raises SettingsError when the file is damaged."""
        self._path = path
        self._clock = clock
        self._held = files.read_json(path, tuple[_Generation, ...]) or ()
        if not self._held:
            self.rotate()
        else:
            self._load()

    def rotate(self) -> None:
        self._held = rotated(self._held, _new_generation(), self._clock.unix_s())
        files.write(self._path, msgspec.json.encode(self._held))
        self._load()

    def _load(self) -> None:
        newest = self._held[0]
        self._signing = {
            "RS256": (f"rsa-{newest.kid}", _private(newest.rsa)),
            "ES256": (f"ec-{newest.kid}", _private(newest.ec)),
        }
        entries = [_jwk(alg, each) for each in self._held for alg in self._signing]
        self.jwks = msgspec.json.encode({"keys": entries})

    def sign(self, claims: dict[str, Any], alg: str) -> str:
        """Raises ProblemError for an algorithm that is not offered."""
        if alg not in self._signing:
            raise refuse(Code.BAD_REQUEST, f"alg is one of {', '.join(self._signing)}")
        kid, key = self._signing[alg]
        return jwt.encode(claims, key, algorithm=alg, headers={"kid": kid})


def _private(pem: str) -> PrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise SettingsError("the issuer's state file holds a key of a kind that it does not use")
    return key


def _jwk(alg: str, generation: _Generation) -> dict[str, Any]:
    """RFC 7517 section 4."""
    key = _private(generation.rsa if alg == "RS256" else generation.ec)
    if isinstance(key, rsa.RSAPrivateKey):
        public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        kid = f"rsa-{generation.kid}"
    else:
        public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        kid = f"ec-{generation.kid}"
    public.pop("key_ops", None)
    return {**public, "kid": kid, "alg": alg, "use": "sig"}


# --- HTTP --------------------------------------------------------------------------------------------------------------------


def claims_of(mint: Mint, *, issuer: str, audience: str, now: float) -> dict[str, Any]:
    """The claims of one token. Pure. Raises ProblemError."""
    if not mint.sub:
        raise refuse(Code.BAD_REQUEST, "sub is empty")
    if not 1 <= mint.ttl_s <= TTL_S_MAX:
        raise refuse(Code.BAD_REQUEST, f"ttl_s is a whole number from 1 to {TTL_S_MAX}")
    replaced = _RESERVED.intersection(mint.claims)
    if replaced:
        raise refuse(Code.BAD_REQUEST, f"claims may not hold {', '.join(sorted(replaced))}")
    claims: dict[str, Any] = {
        **mint.claims,
        "iss": issuer,
        "aud": audience,
        "sub": mint.sub,
        "iat": int(now),
        "exp": int(now) + mint.ttl_s,
    }
    if mint.email is not None:
        claims |= {"email": mint.email, "email_verified": bool(mint.email_verified)}
    return claims


def app(settings: IssuerSettings, keys: Keys, clock: Clock, drain: Drain) -> ASGIApp:
    """The issuer as an ASGI application."""
    host = urlsplit(settings.issuer).netloc
    names = frozenset({host, f"localhost:{settings.port}"})

    def not_from_a_page(request: Request) -> None:
        if "origin" in request.headers or request.headers.get("host") not in names:
            raise refuse(Code.FORBIDDEN, "this development issuer answers local programs only, no web pages")

    async def discovery(request: Request) -> Response:
        not_from_a_page(request)
        return json_response(
            {
                "issuer": settings.issuer,
                "jwks_uri": f"{settings.issuer}/jwks",
                "token_endpoint": f"{settings.issuer}/mint",
                "response_types_supported": ["token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256", "RS256"],
            }
        )

    async def jwks(request: Request) -> Response:
        not_from_a_page(request)
        return Response(keys.jwks, media_type="application/jwk-set+json", headers={"cache-control": "no-store"})

    async def mint(request: Request) -> Response:
        not_from_a_page(request)
        wanted = await body_json(request, Mint)
        claims = claims_of(wanted, issuer=settings.issuer, audience=settings.audience, now=clock.unix_s())
        token = keys.sign(claims, wanted.alg)
        body = {"access_token": token, "token_type": "Bearer", "expires_in": wanted.ttl_s}
        return json_response(body, headers={"cache-control": "no-store"})

    async def rotate(request: Request) -> Response:
        not_from_a_page(request)
        keys.rotate()
        return Response(keys.jwks, media_type="application/jwk-set+json")

    routes = [
        Route("/.well-known/openid-configuration", discovery),
        Route("/jwks", jwks),
        Route("/mint", mint, methods=["POST"]),
        Route("/rotate", rotate, methods=["POST"]),
    ]
    return application(routes, ready=drain.problem)


async def main(settings: IssuerSettings) -> None:
    clock = SystemClock()
    drain = Drain()
    keys = Keys(Path(settings.state_file), clock)
    await serve(app(settings, keys, clock, drain), host=settings.host, port=settings.port, drain=drain)


def _command() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.issuer")
    parser.add_argument("--settings", type=Path, required=True)
    path = parser.parse_args().settings

    async def configured() -> None:
        await main(load(path, IssuerSettings))

    return run("issuer", configured())


if __name__ == "__main__":
    raise SystemExit(_command())
