"""Who a token speaks for: verified once, then remembered until it runs out; refusals are remembered for a moment.

An `Identity` holds lookup keys, never the claims that they were made from.
"""

import enum
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Protocol, TypeVar

from foundation.blinding import Blinder
from foundation.clock import Clock
from foundation.identifiers import MalformedIdentifier
from foundation.tokens import JwksUnavailable, TokenRefused
from foundation.words import LookupKey
from gateway.identity.identity import Identity

Remembered = TypeVar("Remembered")
IDENTITIES_MAX = 65_536
REFUSALS_MAX = 8_192
REFUSAL_S = 1.0
REMEMBERED_S_MAX = 300.0
"""A withdrawn signing key stops counting after this, as it does in the key set."""


class Unidentified(enum.Enum):
    """Why nobody is identified."""

    NO_TOKEN = "no_token"  # noqa: S105 - a reason, not a token
    MALFORMED = "malformed"
    REFUSED = "refused"
    KEYS_UNAVAILABLE = "keys_unavailable"


class Verifier(Protocol):
    """`foundation.tokens.TokenVerifier`: the claims, or TokenRefused, or JwksUnavailable."""

    async def verify(self, token: str) -> dict[str, Any]: ...


class Identities:
    """Identities by the digest of the `Authorization` header that proved them."""

    def __init__(self, verifier: Verifier, blinder: Blinder, clock: Clock) -> None:
        self._verifier = verifier
        self._blinder = blinder
        self._clock = clock
        self._unix_s = clock.unix_s
        self._known: dict[bytes, Identity] = {}
        self._refused: dict[bytes, tuple[float, Unidentified]] = {}

    def known(self, authorization: bytes | None) -> Identity | Unidentified | None:
        """What is known without waiting; None means: ask `establish`."""
        if authorization is None:
            return Unidentified.NO_TOKEN
        digest = blake2b(authorization, digest_size=16).digest()
        identity = self._known.get(digest)
        if identity is not None:
            unix_s = self._unix_s
            if identity.until > unix_s():
                return identity
            del self._known[digest]
        refused = self._refused.get(digest)
        if refused is not None:
            if refused[0] > self._clock.monotonic_s():
                return refused[1]
            del self._refused[digest]
        return None

    async def establish(self, authorization: bytes) -> Identity | Unidentified:
        """Verifies the token and remembers the outcome."""
        token = bearer(authorization)
        if token is None:
            return Unidentified.MALFORMED
        try:
            claims = await self._verifier.verify(token)
        except TokenRefused as exc:
            reason = Unidentified.MALFORMED if exc.reason == "shape" else Unidentified.REFUSED
            now_s = self._clock.monotonic_s()
            until = now_s + REFUSAL_S
            _remember(self._refused, _digest(authorization), (until, reason), REFUSALS_MAX, lambda one: one[0] <= now_s)
            return reason
        except JwksUnavailable:
            return Unidentified.KEYS_UNAVAILABLE
        now = self._clock.unix_s()
        identity = identity_of(claims, self._blinder, now)
        _remember(self._known, _digest(authorization), identity, IDENTITIES_MAX, lambda one: one.until <= now)
        return identity

    def renew(self, blinder: Blinder) -> None:
        """Other blinding keys are live from now on: who was known is established anew."""
        self._blinder = blinder
        self._known.clear()

    @property
    def size(self) -> int:
        return len(self._known)


def identity_of(claims: dict[str, Any], blinder: Blinder, now: float) -> Identity:
    """Blinds verified claims. Pure."""
    return Identity(
        login=blinder.login(claims["iss"], claims["sub"]),
        email=_email_keys(claims, blinder),
        kids=blinder.kids,
        until=min(float(claims["exp"]), now + REMEMBERED_S_MAX),
    )


def _email_keys(claims: dict[str, Any], blinder: Blinder) -> tuple[LookupKey, ...]:
    """None for an address that the issuer did not verify, or that is none."""
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str):
        return ()
    try:
        return blinder.email(email)
    except MalformedIdentifier:
        return ()


def bearer(authorization: bytes) -> str | None:
    """The token of `Bearer <token>` (RFC 6750 section 2.1), or None. The token is printable ASCII without spaces."""
    scheme, _, token = authorization.partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token or b" " in token or not token.isascii():
        return None
    return token.decode("ascii")


def _digest(authorization: bytes) -> bytes:
    return blake2b(authorization, digest_size=16).digest()


def _remember(
    table: dict[bytes, Remembered], key: bytes, value: Remembered, entries_max: int, over: Callable[[Remembered], bool]
) -> None:
    """Keeps the table bounded; the oldest entry goes first. Of tokens that nobody shows again nothing stays long: for each that comes, two
    of the oldest go where they have run out."""
    for _ in range(2):
        oldest = next(iter(table), None)
        if oldest is None or not over(table[oldest]):
            break
        del table[oldest]
    if key not in table and len(table) >= entries_max:
        del table[next(iter(table))]
    table[key] = value
