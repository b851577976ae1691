"""JSON Web Tokens (RFC 7519): verifying people's and services' tokens against JWKS (RFC 7517), and presenting a service's own.

Rules that `TokenVerifier` enforces: three parts and a bounded size; `alg` is RS256 or ES256 and fits the key's type (never `none`, never
HMAC: symmetric keys of a JWKS are dropped); `kid` is known; signature; issuer and audience are the configured ones; `exp` is present
and, like `nbf` and `iat`, holds within the skew bound. Each failure raises `TokenRefused`.
"""

import json
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
import msgspec

from foundation.clock import SKEW_S_MAX, Clock
from foundation.mute import Secret
from foundation.tasks import SingleFlight
from foundation.words import CellId

ALGORITHMS = {"RS256": "RSA", "ES256": "EC"}
TOKEN_BYTES_MAX = 8192
KEYS_MAX = 32

FetchJwks = Callable[[], Awaitable[bytes]]
"""Brings the JWKS document; raises OSError or JwksUnavailable."""


class TokenRefused(Exception):
    """The token does not hold. `reason` is one of: shape, algorithm, kid, signature, expired, not_yet, issuer, audience, claims."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"token refused: {reason}")
        self.reason = reason


class JwksUnavailable(Exception):
    """No key set could be had, so nothing can be said about the token."""


class Issuer(msgspec.Struct, frozen=True, kw_only=True):
    """One trusted issuer. `jwks` is an http(s) URL or a file path; `audience` is what `aud` must hold."""

    issuer: str
    audience: str
    jwks: str


def cell_audience(audience: str, cell: CellId) -> str:
    """Whom a token is for that opens one cell's own records to an operator, beside `audience`, which all services share."""
    return f"{audience}:cell:{cell}"


class Jwks:
    """The key set of one issuer: refreshed when old or when an unknown kid appears, at most once per `cooldown_s` whoever asks.

    A refresh that fails keeps the keys it had, and while the source stays dark nobody who shows a known kid waits for the next try.
    Concurrent askers share one fetch.
    """

    def __init__(self, fetch: FetchJwks, clock: Clock, *, cooldown_s: float = 5.0, age_s_max: float = 300.0) -> None:
        self._fetch = fetch
        self._clock = clock
        self._cooldown_s = cooldown_s
        self._age_s_max = age_s_max
        self._keys: dict[str, jwt.PyJWK] = {}
        self._tried_at: float | None = None
        self._fresh_at: float | None = None
        self._dark = False
        self._flight = SingleFlight()

    async def key(self, kid: str) -> jwt.PyJWK:
        """The key named `kid`. Raises TokenRefused("kid"), or JwksUnavailable where no key set was ever had."""
        now = self._clock.monotonic_s()
        old = self._fresh_at is None or now - self._fresh_at > self._age_s_max
        if (old or kid not in self._keys) and self._may_try(now):
            if self._dark and kid in self._keys:
                self._flight.start("refresh", self._refresh)
            else:
                await self._flight.run("refresh", self._refresh)
        key = self._keys.get(kid)
        if key is not None:
            return key
        if self._fresh_at is None:
            raise JwksUnavailable("the issuer's keys cannot be fetched")
        raise TokenRefused("kid")

    def _may_try(self, now: float) -> bool:
        return self._tried_at is None or now - self._tried_at >= self._cooldown_s or self._flight.busy("refresh")

    async def _refresh(self) -> None:
        self._tried_at = self._clock.monotonic_s()
        try:
            keys = parse_jwks(await self._fetch())
        except (OSError, JwksUnavailable, ValueError):
            self._dark = True
            return
        self._dark = False
        self._keys = keys
        self._fresh_at = self._clock.monotonic_s()

    async def aclose(self) -> None:
        await self._flight.aclose()


def parse_jwks(document: bytes) -> dict[str, jwt.PyJWK]:
    """Usable signing keys by kid; keys without kid, symmetric or of other algorithms are left out. Raises ValueError."""
    parsed = json.loads(document)
    if not isinstance(parsed, dict) or not isinstance(parsed.get("keys"), list):
        raise ValueError("not a JWKS document")
    keys: dict[str, jwt.PyJWK] = {}
    for entry in parsed["keys"][:KEYS_MAX]:
        algorithm = _algorithm_of(entry)
        if algorithm is None:
            continue
        try:
            keys[entry["kid"]] = jwt.PyJWK(entry, algorithm=algorithm)
        except (jwt.PyJWTError, ValueError, KeyError):
            continue
    return keys


def _algorithm_of(entry: Any) -> str | None:
    """RS256 or ES256 for a JWK that may verify signatures, else None (RFC 7517 sections 4.1-4.4)."""
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str) or entry.get("use", "sig") != "sig":
        return None
    if entry.get("kty") == "RSA":
        algorithm = "RS256"
    elif entry.get("kty") == "EC" and entry.get("crv") == "P-256":
        algorithm = "ES256"
    else:
        return None
    return algorithm if entry.get("alg", algorithm) == algorithm else None


class TokenVerifier:
    """Verifies tokens of several issuers, each against its own keys and audience."""

    def __init__(self, issuers: dict[str, tuple[str, Jwks]], clock: Clock) -> None:
        """`issuers`: issuer → (audience, key set)."""
        self._issuers = issuers
        self._clock = clock

    async def verify(self, token: str) -> dict[str, Any]:
        """The verified claims. Raises TokenRefused or JwksUnavailable."""
        header, issuer = _peek(token)
        known = self._issuers.get(issuer)
        if known is None:
            raise TokenRefused("issuer")
        audience, jwks = known
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise TokenRefused("kid")
        key = await jwks.key(kid)
        if ALGORITHMS[header["alg"]] != key.key_type:
            raise TokenRefused("algorithm")
        claims = _decode(token, key, header["alg"], issuer, audience)
        self._check_times(claims)
        if not isinstance(claims.get("sub"), str) or not claims["sub"]:
            raise TokenRefused("claims")
        return claims

    def _check_times(self, claims: dict[str, Any]) -> None:
        now = self._clock.unix_s()
        times = {name: claims.get(name) for name in ("exp", "nbf", "iat")}
        if any(value is not None and not _is_time(value) for value in times.values()):
            raise TokenRefused("claims")
        expires, not_before, issued = times["exp"], times["nbf"], times["iat"]
        if expires is None:
            raise TokenRefused("claims")
        if expires <= now - SKEW_S_MAX:
            raise TokenRefused("expired")
        if (not_before or 0) > now + SKEW_S_MAX or (issued or 0) > now + SKEW_S_MAX:
            raise TokenRefused("not_yet")


def _is_time(value: Any) -> bool:
    """A NumericDate (RFC 7519 section 2). JSON as Python reads it also has NaN, which is before no moment and after none, and whole
    numbers that no float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _peek(token: str) -> tuple[dict[str, Any], str]:
    """Unverified header and issuer: enough to choose the key, trusted for nothing else."""
    if len(token) > TOKEN_BYTES_MAX or token.count(".") != 2:
        raise TokenRefused("shape")
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as exc:
        raise TokenRefused("shape") from exc
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenRefused("algorithm")
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        raise TokenRefused("issuer")
    return header, issuer


def _decode(token: str, key: jwt.PyJWK, algorithm: str, issuer: str, audience: str) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=issuer,
            audience=audience,
            # Times are checked by the verifier's own clock and skew bound.
            options={
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "require": ["iss", "aud", "exp", "sub"],
            },
        )
    except jwt.InvalidAudienceError as exc:
        raise TokenRefused("audience") from exc
    except jwt.InvalidIssuerError as exc:
        raise TokenRefused("issuer") from exc
    except jwt.InvalidSignatureError as exc:
        raise TokenRefused("signature") from exc
    except (jwt.PyJWTError, ValueError) as exc:
        raise TokenRefused("claims") from exc
    return claims


def fetch_jwks_file(path: Path) -> FetchJwks:
    """A key set in a local file."""

    async def fetch() -> bytes:
        return path.read_bytes()  # noqa: ASYNC240 - a small local file

    return fetch


class TokenFile:
    """A service's own short-lived token, read from a file that somebody rotates (as Kubernetes projects them). Mode 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._token: Secret[str] | None = None

    def token(self) -> Secret[str]:
        """The current token; the file is read again when it changed. Raises OSError."""
        status = self._path.stat()
        stamp = (status.st_mtime_ns, status.st_ino)
        if self._token is None or stamp != self._stamp:
            self._token = Secret(self._path.read_text(encoding="ascii").strip())
            self._stamp = stamp
        return self._token
