"""Services that act for subjects: who a service token stands for, and what it leaves of what policy allows.

The credential: a token of one of the gateway's service issuers with `sub` `service:<name>` and exactly one role `actor:<name>`, where
`<name>` stands in policy's `[actors]`. A claim `act` (`{"services": […], "jurisdictions": […], "verbs": […]}`) narrows what that entry
allows; nothing in a token widens it.
"""

import hashlib
from typing import Any

import msgspec

from foundation.clock import Clock
from foundation.problems import Code, Problem
from foundation.tokens import JwksUnavailable, TokenRefused
from foundation.words import (
    ActorId,
    JurisdictionId,
    LookupKey,
    MalformedWord,
    ServiceId,
    SubjectId,
    Verb,
    parse_lookup_key,
    parse_slug,
    parse_subject_id,
)
from gateway.identity.tokens import REMEMBERED_S_MAX, Verifier, bearer

ACTORS_MAX = 1_024
_ROLE = "actor:"
_KEY = "key:"
NOT_HERE = Problem(code=Code.FORBIDDEN, detail="only services that policy names may act for a subject")
_NO_TOKEN = Problem(code=Code.UNAUTHENTICATED, detail="send Authorization: Bearer with a service token")
_RUN_OUT = Problem(code=Code.UNAUTHENTICATED, detail="the service token is refused or has run out")
_DARK = Problem(code=Code.NOT_READY, detail="the service issuer's keys cannot be had", retry_after_s=1)
_NOBODY = Problem(code=Code.BAD_REQUEST, detail="Domicile-For names one subject id, or key: and a lookup key")


class Narrowed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The claim `act`; None leaves what policy allows as it is."""

    services: frozenset[ServiceId] | None = None
    jurisdictions: frozenset[JurisdictionId] | None = None
    verbs: frozenset[Verb] | None = None


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """A verified credential. `until`: unix seconds at which it must be established anew."""

    name: ServiceId
    narrowed: Narrowed
    until: float

    @property
    def id(self) -> ActorId:
        return ActorId(f"service:{self.name}")


class Actors:
    """Credentials of acting services by the digest of the `Authorization` header. No verifier: nobody acts here."""

    def __init__(self, verifier: Verifier | None, clock: Clock) -> None:
        self._verifier = verifier
        self._clock = clock
        self._known: dict[bytes, Actor] = {}

    async def establish(self, authorization: bytes | None) -> Actor | Problem:
        """Who acts, or why nobody does: 401 without a token that holds, 403 for the tokens of everybody else."""
        if self._verifier is None:
            return NOT_HERE
        token = None if authorization is None else bearer(authorization)
        if authorization is None or token is None:
            return _NO_TOKEN
        digest = hashlib.blake2b(authorization, digest_size=16).digest()
        known = self._known.get(digest)
        if known is not None and known.until > self._clock.unix_s():
            return known
        try:
            claims = await self._verifier.verify(token)
        except TokenRefused as exc:
            return NOT_HERE if exc.reason == "issuer" else _RUN_OUT
        except JwksUnavailable:
            return _DARK
        actor = actor_of(claims, self._clock.unix_s())
        if isinstance(actor, Actor):
            while len(self._known) >= ACTORS_MAX:
                del self._known[next(iter(self._known))]
            self._known[digest] = actor
        return actor


def actor_of(claims: dict[str, Any], now: float) -> Actor | Problem:
    """The actor that verified claims stand for. Pure."""
    roles = claims.get("roles")
    held = roles if isinstance(roles, list) else []
    named = {role[len(_ROLE) :] for role in held if isinstance(role, str) and role.startswith(_ROLE)}
    if len(named) != 1:
        return NOT_HERE
    try:
        name = ServiceId(parse_slug(named.pop(), "service"))
        narrowed = msgspec.convert(claims.get("act", {}), Narrowed)
    except (MalformedWord, msgspec.ValidationError):
        return NOT_HERE
    if claims["sub"] != f"service:{name}":
        return NOT_HERE
    return Actor(name=name, narrowed=narrowed, until=min(float(claims["exp"]), now + REMEMBERED_S_MAX))


class NamedSubject(msgspec.Struct, frozen=True):
    id: SubjectId


class NamedKey(msgspec.Struct, frozen=True):
    key: LookupKey


def named_in(acts_for: bytes) -> NamedSubject | NamedKey | Problem:
    """Whom `Domicile-For` names: a subject id, or `key:` and a lookup key. Pure."""
    text = acts_for.decode("latin-1").strip()
    try:
        if text.startswith(_KEY):
            return NamedKey(parse_lookup_key(text[len(_KEY) :]))
        return NamedSubject(parse_subject_id(text))
    except MalformedWord:
        return _NOBODY
