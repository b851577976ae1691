"""`/v1/rules`: publish, roll back, read."""

import asyncio
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from directory import paging
from directory.operations import Operation, Parameter
from directory.paged import PAGED, limit_of
from directory.placement.answers import Reason
from directory.placement.core import RulesDocument
from directory.rules import store
from directory.services import Services
from foundation import logs
from foundation.http import Caller, body_json, json_response
from foundation.problems import Code, refuse
from foundation.words import MalformedWord, RulesDigest, parse_rules_digest
from routing_rules.policy import POLICY_BYTES_MAX
from routing_rules.rules import PolicyError, Rules, load

log = logs.get(__name__)

MISTAKES_MAX = 200


class PublishRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`policy` is the text of a policy.toml."""

    policy: Annotated[str, Meta(max_length=POLICY_BYTES_MAX)]
    reason: Reason


class RollbackRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`digest`: of rules that were published here before."""

    digest: str
    reason: Reason


class RolledBack(msgspec.Struct, frozen=True, kw_only=True):
    """`document` holds now: the policy text of `of`. Its digest is another one where the pack has changed since."""

    of: RulesDigest
    document: RulesDocument


class RulesHistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first: the first entry of the first page holds now."""

    entries: tuple[store.PublishedEntry, ...]
    next: str | None


_IF_MATCH = Parameter(
    name="If-Match",
    place="header",
    schema={"type": "string"},
    description="the digest, quoted, of the rules that must hold until then; 412 where others do",
)
_READERS = ("resolver", "operator", "rules")


class RulesCalls:
    """Handlers; each is entered by a caller that holds one of the call's roles."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def publish(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, PublishRequest, bytes_max=2 * POLICY_BYTES_MAX)
        published = await self._published(asked.policy, request, caller, asked.reason)
        return _answer(published.document, 201 if published.changed else 200)

    async def rollback(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, RollbackRequest)
        earlier = await self._by_digest(parse_rules_digest(asked.digest))
        published = await self._published(earlier.policy, request, caller, asked.reason)
        answer = RolledBack(of=earlier.digest, document=published.document)
        headers = {"etag": _etag(published.document.digest)}
        return json_response(answer, 201 if published.changed else 200, headers)

    async def current(self, _request: Request, _: Caller) -> Response:
        document = await store.current(self._services.pool)
        if document is None:
            raise refuse(Code.NOT_FOUND, "no rules published yet")
        return _answer(document)

    async def by_digest(self, request: Request, _: Caller) -> Response:
        return _answer(await self._by_digest(parse_rules_digest(request.path_params["digest"])))

    async def history(self, request: Request, _: Caller) -> Response:
        limit = limit_of(request)
        before = paging.decode_seq(request.query_params.get("cursor"))
        entries = await store.history(self._services.pool, before=before, limit=limit + 1)
        page, following = paging.page_of(entries, limit, "seq", lambda one: one.seq)
        return json_response(RulesHistoryPage(entries=page, next=following))

    async def _by_digest(self, digest: RulesDigest) -> RulesDocument:
        document = await store.by_digest(self._services.pool, digest)
        if document is None:
            raise refuse(Code.NOT_FOUND, "no rules with this digest were published here")
        return document

    async def _published(self, policy: str, request: Request, caller: Caller, reason: str) -> store.Published:
        """Checked first, so that a bad policy changes nothing. Raises ProblemError."""
        services = self._services
        compared = digest_compared(request.headers.get("if-match"))
        rules = await _checked(policy)
        published = await store.publish(
            services.pool,
            services.clock,
            digest=rules.digest,
            policy=policy,
            actor=caller.actor,
            reason=reason,
            compared=compared,
        )
        if isinstance(published, store.Other):
            raise refuse(
                Code.PRECONDITION_FAILED,
                "other rules hold by now; compare with them and decide anew",
                digest=published.digest,
            )
        services.rules.parsed(rules)
        if published.changed:
            services.commits.committed(published.document.seq)
            log.info("rules_published", digest=rules.digest, seq=published.document.seq, actor=caller.actor)
        return published


def operations(services: Services) -> list[Operation]:
    calls = RulesCalls(services)
    return [*_changes(calls), *_questions(calls)]


def _changes(calls: RulesCalls) -> list[Operation]:
    return [
        Operation(
            method="POST",
            path="/v1/rules",
            name="publishRules",
            summary="Make a policy hold, after checking it; every mistake is told. No existing placement changes",
            roles=("rules",),
            handler=calls.publish,
            body=PublishRequest,
            parameters=(_IF_MATCH,),
            answers={201: RulesDocument, 200: RulesDocument},
            refusals=(Code.UNPROCESSABLE, Code.PRECONDITION_FAILED),
        ),
        Operation(
            method="POST",
            path="/v1/rules/rollback",
            name="rollBackRules",
            summary="Make an earlier policy hold again: its text is checked and published anew",
            roles=("rules",),
            handler=calls.rollback,
            body=RollbackRequest,
            parameters=(_IF_MATCH,),
            answers={201: RolledBack, 200: RolledBack},
            refusals=(Code.NOT_FOUND, Code.UNPROCESSABLE, Code.PRECONDITION_FAILED),
        ),
    ]


def _questions(calls: RulesCalls) -> list[Operation]:
    return [
        Operation(
            method="GET",
            path="/v1/rules/current",
            name="currentRules",
            summary="The rules that hold",
            roles=_READERS,
            handler=calls.current,
            answers={200: RulesDocument},
            refusals=(Code.NOT_FOUND,),
        ),
        # Before the digests: a route is taken by the first pattern that fits.
        Operation(
            method="GET",
            path="/v1/rules/history",
            name="rulesHistory",
            summary="Which rules held since when, who published them and why",
            roles=_READERS,
            handler=calls.history,
            parameters=PAGED,
            answers={200: RulesHistoryPage},
        ),
        Operation(
            method="GET",
            path="/v1/rules/{digest}",
            name="rulesByDigest",
            summary="Rules by their digest, as the feed and decisions name them",
            roles=_READERS,
            handler=calls.by_digest,
            answers={200: RulesDocument},
            refusals=(Code.NOT_FOUND,),
        ),
    ]


def digest_compared(if_match: str | None) -> RulesDigest | None:
    """The digest of `If-Match` (RFC 9110 section 13.1.1): one strong entity tag, or no header. Pure. Raises ProblemError."""
    if if_match is None:
        return None
    text = if_match.strip()
    try:
        if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
            raise MalformedWord
        return parse_rules_digest(text[1:-1])
    except MalformedWord as exc:
        raise refuse(Code.BAD_REQUEST, 'If-Match is one strong entity tag with a digest, such as "sha256:…"') from exc


async def _checked(policy: str) -> Rules:
    """Parsed off the event loop: a large policy takes a while. Raises ProblemError with every mistake."""
    try:
        return await asyncio.to_thread(load, policy)
    except PolicyError as exc:
        raise refuse(
            Code.UNPROCESSABLE, "the policy has mistakes; correct them all", mistakes=list(exc.mistakes[:MISTAKES_MAX])
        ) from exc


def _etag(digest: RulesDigest) -> str:
    return f'"{digest}"'


def _answer(document: RulesDocument, status: int = 200) -> Response:
    return json_response(document, status, {"etag": _etag(document.digest)})
