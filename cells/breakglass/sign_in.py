"""Who asks: an engineer by the token of one OIDC issuer, with roles, home country and where they were seen; and who is on call.

Where somebody is, is observed by the issuer at sign-in (claim `observed_country`) and declared with each call (`Domicile-Declared`); the
stricter counts, and what is not said counts as outside. A sign-in older than an hour says nothing of where somebody is, and is refused.
"""

import hashlib
from collections.abc import Callable
from typing import Any

from starlette.requests import Request

from cells.breakglass.policy import ROLES, Person
from cells.breakglass.refusals import Refused, Why
from cells.breakglass.steps import OnCall, Presence
from cells.breakglass.words import HOUR_US, SECOND_US, EngineerId, engineer_of
from foundation.clock import SKEW_S_MAX, Clock
from foundation.http import Caller, ServiceAuth, bearer
from foundation.problems import Code, refuse
from foundation.tokens import JwksUnavailable, TokenRefused, TokenVerifier
from foundation.words import Country, MalformedWord, parse_country

SIGNED_IN_S_MAX = HOUR_US // SECOND_US
_AT_MAX = 1 << 53
"""What canonical JSON writes exactly."""
DECLARED = "domicile-declared"
Inside = Callable[[Country], bool]
"""Whether a country is one of the jurisdiction of this cell, by the rules that hold now. Raises ProblemError before the first."""


class SignedIn(Caller, frozen=True):
    """An engineer as callers of other APIs are known: `actor` is the engineer's id."""

    person: Person


class EngineerAuth(ServiceAuth):
    """Authenticates engineers. Nothing is remembered: where somebody declares to be is said with each call."""

    def __init__(self, verifier: TokenVerifier, on_call: TokenVerifier | None, clock: Clock, inside: Inside) -> None:
        super().__init__(verifier, clock)
        self._sign_in = verifier
        self._on_call = on_call
        self._now = clock
        self._inside = inside

    async def caller(self, request: Request) -> SignedIn:
        """Raises ProblemError (UNAUTHENTICATED, or NOT_READY where the keys cannot be had)."""
        token = bearer(request.headers.get("authorization"))
        if token is None:
            raise refuse(Code.UNAUTHENTICATED, "send Authorization: Bearer with a token of the engineers' sign-in")
        claims = await _verified(self._sign_in, token)
        issued = claims.get("iat")
        if not isinstance(issued, int | float) or issued < self._now.unix_s() - SIGNED_IN_S_MAX - SKEW_S_MAX:
            raise refuse(Code.UNAUTHENTICATED, "sign in again: a sign-in counts for an hour")
        person = person_of(claims, _declared(request), self._inside)
        return SignedIn(actor=person.id, roles=person.roles, person=person)

    async def on_call(self, proof: str, person: EngineerId) -> OnCall:
        """What a signed statement says of being on call. Raises ProblemError where it does not say so of this person."""
        if self._on_call is None:
            raise Refused(Why.NOT_ON_CALL).error()
        try:
            claims = await self._on_call.verify(proof)
        except TokenRefused as exc:
            raise Refused(Why.NOT_ON_CALL).error() from exc
        except JwksUnavailable as exc:
            raise refuse(Code.NOT_READY, "the keys of the on-call issuer cannot be fetched", retry_after_s=1) from exc
        if claims.get("on_call") is not True or f"engineer:{claims['sub']}" != person:
            raise Refused(Why.NOT_ON_CALL).error()
        return OnCall(
            digest=hashlib.sha256(proof.encode()).hexdigest(), until_us=min(int(claims["exp"] * SECOND_US), _AT_MAX)
        )


def person_of(claims: dict[str, Any], declared: Country | None, inside: Inside) -> Person:
    """Pure but for `inside`. Raises ProblemError."""
    try:
        engineer = engineer_of(claims["sub"])
    except MalformedWord as exc:
        raise refuse(Code.FORBIDDEN, str(exc)) from exc
    roles = claims.get("roles")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise refuse(Code.FORBIDDEN, "the token states no roles")
    home, observed = (_country(claims.get(name)) for name in ("home_country", "observed_country"))
    seen, said, lives = (country is not None and inside(country) for country in (observed, declared, home))
    presence = Presence(home=home, observed=observed, declared=declared, inside=seen and said, home_inside=lives)
    return Person(
        id=engineer,
        roles=ROLES.intersection(roles),
        presence=presence,
        observed_inside=seen,
        declared_inside=said,
    )


def person(caller: Caller) -> Person:
    """Of a caller whom `EngineerAuth` has let in."""
    if not isinstance(caller, SignedIn):
        raise refuse(Code.UNAUTHENTICATED, "sign in as an engineer")
    return caller.person


def _declared(request: Request) -> Country | None:
    """Raises ProblemError."""
    text = request.headers.get(DECLARED)
    try:
        return None if text is None else parse_country(text)
    except MalformedWord as exc:
        raise refuse(Code.BAD_REQUEST, f"Domicile-Declared: {exc}") from exc


def _country(claim: Any) -> Country | None:
    """What is no country is unknown, and counts as outside."""
    try:
        return parse_country(claim) if isinstance(claim, str) else None
    except MalformedWord:
        return None


async def _verified(verifier: TokenVerifier, token: str) -> dict[str, Any]:
    """Raises ProblemError."""
    try:
        return await verifier.verify(token)
    except TokenRefused as exc:
        raise refuse(Code.UNAUTHENTICATED, f"the token is refused: {exc.reason}") from exc
    except JwksUnavailable as exc:
        raise refuse(Code.NOT_READY, "the issuer's keys cannot be fetched", retry_after_s=1) from exc
