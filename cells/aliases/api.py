"""`/cell/aliases/…`: a product service claims an alias for a person of this cell, and says whether control of it was proven."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cells.aliases import store
from cells.aliases.claims import Aliases
from cells.aliases.store import Alias, State
from cells.service.context import Context
from cells.shards.core import Home
from cells.shards.shard import Shard
from directory.aliases.answers import LEASE_S, LEASE_S_MAX
from directory.client.remote import DirectoryUnavailable
from directory.placement.core import refusal
from foundation import logs
from foundation.http import body_json, json_response
from foundation.identifiers import EMAIL_CHARS_MAX, Identifier, IdentifierKind, MalformedIdentifier, parse
from foundation.problems import Code, refuse
from foundation.words import Country, MalformedWord, SubjectId, Verb, mint_subject_id, parse_subject_id

log = logs.get(__name__)

IdText = Annotated[str, Meta(min_length=36, max_length=36)]


class AliasWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An alias as written. `country`: of a phone number without +. `system`: who gave an external id out."""

    kind: IdentifierKind
    value: Annotated[str, Meta(max_length=EMAIL_CHARS_MAX)]
    country: Annotated[str, Meta(pattern="^[A-Z]{2}$", max_length=2)] | None = None
    system: Annotated[str, Meta(max_length=40)] | None = None


class AliasClaimRequest(AliasWords, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`lease_s`: how long control of the alias may take to prove."""

    subject_id: IdText
    lease_s: Annotated[int, Meta(ge=1, le=LEASE_S_MAX)] = LEASE_S


class AliasSettleRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    claim_id: IdText
    subject_id: IdText


class ClaimTold(msgspec.Struct, frozen=True, kw_only=True):
    """`expires_at`: unix seconds, of a claim that is neither confirmed nor released."""

    claim_id: str
    state: str
    expires_at: float | None = None


def routes(context: Context, aliases: Aliases) -> list[Route]:
    calls = AliasCalls(context, aliases)
    return [
        Route("/cell/aliases/claim", calls.claim, methods=["POST"]),
        Route("/cell/aliases/confirm", calls.confirm, methods=["POST"]),
        Route("/cell/aliases/release", calls.release, methods=["POST"]),
    ]


class AliasCalls:
    def __init__(self, context: Context, aliases: Aliases) -> None:
        self._context = context
        self._aliases = aliases

    async def claim(self, request: Request) -> Response:
        service = await self._context.product_service(request)
        asked = await body_json(request, AliasClaimRequest)
        identifier = identifier_of(asked)
        subject, home = self._home(asked.subject_id, service)
        shard = self._context.shard_of(home)
        _, answer = await self._aliases.claim(
            shard, mint_subject_id(), identifier, subject=subject, lease_s=asked.lease_s
        )
        told = answer.claim
        return json_response(ClaimTold(claim_id=told.claim_id, state=told.state, expires_at=told.expires_at), 201)

    async def confirm(self, request: Request) -> Response:
        _, alias, shard, subject = await self._settled(request)
        if alias.state is State.UNWANTED:
            raise refuse(Code.CONFLICT, "the claim was released; claim anew")
        answer = await self._aliases.confirm(shard, alias, subject)
        return json_response(ClaimTold(claim_id=alias.claim_id, state=answer.claim.state))

    async def release(self, request: Request) -> Response:
        service, alias, shard, _ = await self._settled(request)
        try:
            await self._aliases.release(shard, alias.claim_id, reason=f"released by {service}")
        except DirectoryUnavailable as exc:
            raise refuse(
                Code.HOME_UNKNOWN, "noted here; the directory cannot be asked just now", retry_after_s=1
            ) from exc
        return json_response(ClaimTold(claim_id=alias.claim_id, state="released"))

    async def _settled(self, request: Request) -> tuple[str, Alias, Shard, SubjectId]:
        service = await self._context.product_service(request)
        asked = await body_json(request, AliasSettleRequest)
        subject, home = self._home(asked.subject_id, service)
        shard = self._context.shard_of(home)
        alias = await store.read(shard, _id(asked.claim_id))
        if alias is None or alias.subject_id != subject:
            raise refuse(Code.NOT_FOUND, "this person has no such claim here")
        return service, alias, shard, subject

    def _home(self, text: str, service: str) -> tuple[SubjectId, Home]:
        """A person whom this service may write for just now. Raises ProblemError."""
        subject = _id(text)
        home = self._context.known(subject)
        if home is None:
            raise refuse(Code.NO_HOME, "this subject has no home in this cell")
        if service not in home.services:
            raise refuse(Code.NOT_PLACED_FOR_SERVICE, "the placement was not made for this service")
        code = refusal(home.state, Verb.WRITE)
        if code is not None:
            raise refuse(code, f"the subject is {home.state.value}", retry_after_s=1)
        return subject, home


def identifier_of(words: AliasWords) -> Identifier:
    """Raises ProblemError that says what to write."""
    country = None if words.country is None else Country(words.country)
    try:
        return parse(words.kind, words.value, country=country, system=words.system)
    except MalformedIdentifier as exc:
        raise refuse(Code.BAD_REQUEST, str(exc)) from exc


def _id(text: str) -> SubjectId:
    try:
        return parse_subject_id(text)
    except MalformedWord as exc:
        raise refuse(Code.BAD_REQUEST, "an id here is a UUID") from exc
