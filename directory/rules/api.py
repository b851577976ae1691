"""`/v1/rules`: publish and read."""

import asyncio
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from directory.operations import Operation
from directory.placement.answers import Reason
from directory.placement.core import RulesDocument
from directory.rules import store
from directory.services import Services
from foundation import logs
from foundation.http import Caller, body_json, json_response
from foundation.problems import Code, refuse
from foundation.words import parse_rules_digest
from routing_rules.policy import POLICY_BYTES_MAX
from routing_rules.rules import PolicyError, Rules, load

log = logs.get(__name__)

MISTAKES_MAX = 200


class PublishRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`policy` is the text of a policy.toml."""

    policy: Annotated[str, Meta(max_length=POLICY_BYTES_MAX)]
    reason: Reason


def operations(services: Services) -> list[Operation]:
    async def publish(request: Request, caller: Caller) -> Response:
        asked = await body_json(request, PublishRequest, bytes_max=2 * POLICY_BYTES_MAX)
        rules = await _checked(asked.policy)
        published = await store.publish(
            services.pool,
            services.clock,
            digest=rules.digest,
            policy=asked.policy,
            actor=caller.actor,
            reason=asked.reason,
        )
        services.rules.parsed(rules)
        if published.changed:
            services.commits.committed(published.document.seq)
            log.info("rules_published", digest=rules.digest, seq=published.document.seq, actor=caller.actor)
        return _answer(published.document, 201 if published.changed else 200)

    async def current(request: Request, caller: Caller) -> Response:
        document = await store.current(services.pool)
        if document is None:
            raise refuse(Code.NOT_FOUND, "no rules published yet")
        return _answer(document)

    async def by_digest(request: Request, caller: Caller) -> Response:
        document = await store.by_digest(services.pool, parse_rules_digest(request.path_params["digest"]))
        if document is None:
            raise refuse(Code.NOT_FOUND, "no rules with this digest were published here")
        return _answer(document)

    readers = ("resolver", "operator", "rules")
    return [
        Operation(
            method="POST",
            path="/v1/rules",
            name="publishRules",
            summary="Make a policy hold, after checking it; every mistake is told",
            roles=("rules",),
            handler=publish,
            body=PublishRequest,
            answers={201: RulesDocument, 200: RulesDocument},
            refusals=(Code.UNPROCESSABLE,),
        ),
        Operation(
            method="GET",
            path="/v1/rules/current",
            name="currentRules",
            summary="The rules that hold",
            roles=readers,
            handler=current,
            answers={200: RulesDocument},
            refusals=(Code.NOT_FOUND,),
        ),
        Operation(
            method="GET",
            path="/v1/rules/{digest}",
            name="rulesByDigest",
            summary="Rules by their digest, as the feed and decisions name them",
            roles=readers,
            handler=by_digest,
            answers={200: RulesDocument},
            refusals=(Code.NOT_FOUND,),
        ),
    ]


async def _checked(policy: str) -> Rules:
    """Parsed off the event loop: a large policy takes a while. Raises ProblemError with every mistake."""
    try:
        return await asyncio.to_thread(load, policy)
    except PolicyError as exc:
        raise refuse(
            Code.UNPROCESSABLE, "the policy has mistakes; correct them all", mistakes=list(exc.mistakes[:MISTAKES_MAX])
        ) from exc


def _answer(document: RulesDocument, status: int = 200) -> Response:
    return json_response(document, status, {"etag": f'"{document.digest}"'})
