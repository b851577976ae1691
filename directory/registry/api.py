"""`/v1/registry`: what is said of regions, cells, shards and services that policy declares; compare-and-set by version."""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from directory import paging
from directory.operations import Operation, Parameter
from directory.paged import PAGED, limit_of
from directory.placement.answers import Reason
from directory.registry import store
from directory.registry.core import (
    ADDRESSES_MAX,
    Address,
    Name,
    RegistryAnswer,
    Stated,
    Weight,
    cell_name,
    names,
    region_name,
    service_name,
    shard_name,
    undeclared,
    unfit,
)
from directory.services import Services
from foundation import logs
from foundation.http import Caller, body_json, json_response
from foundation.problems import Code, Problem, ProblemError, refuse
from foundation.words import CellId, RegionId, ServiceId, ShardId, parse_slug
from routing_rules.rules import Rules

log = logs.get(__name__)

RULES_TRIES_MAX = 3
ENTRY_CHARS_MAX = 200
_VERSION = re.compile(r'"([0-9]{1,9})"\Z')
_READERS = ("resolver", "operator")


class StateRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that the entry says from now on. `drain`: takes no new subject; null: policy's weight, all of policy's hosts."""

    reason: Reason
    drain: bool = False
    weight: Weight | None = None
    addresses: Annotated[tuple[Address, ...], Meta(min_length=1, max_length=ADDRESSES_MAX)] | None = None


class EntryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One entry; its ETag is its version."""

    entry: Stated


class RegistryHistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first."""

    entries: tuple[store.Change, ...]
    next: str | None


class RegistryCalls:
    """Handlers; each is entered by a caller that holds one of the call's roles."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def all(self, _request: Request, _: Caller) -> Response:
        rules, registry = await self._rules(), await self._services.registry.current()
        declared = {name.text: registry.of(name) for name in names(rules.policy)}
        entries = {**declared, **registry.entries}
        return json_response(RegistryAnswer(as_of=registry.seq, entries=tuple(entries.values())))

    async def history(self, request: Request, _: Caller) -> Response:
        limit = limit_of(request)
        before = paging.decode_seq(request.query_params.get("cursor"))
        entry = request.query_params.get("entry")
        if entry is not None and len(entry) > ENTRY_CHARS_MAX:
            raise refuse(Code.BAD_REQUEST, "an entry is named as in the list, such as cells/eu-de")
        found = await store.history(self._services.pool, entry=entry, before=before, limit=limit + 1)
        page, following = paging.page_of(found, limit, "seq", lambda one: one.seq)
        return json_response(RegistryHistoryPage(entries=page, next=following))

    def one(self, named: Callable[[Request], Name]) -> Callable[[Request, Caller], Awaitable[Response]]:
        async def entry(request: Request, _: Caller) -> Response:
            name = named(request)
            _raise(undeclared(name, (await self._rules()).policy))
            return _answer((await self._services.registry.current()).of(name))

        return entry

    def put(self, named: Callable[[Request], Name]) -> Callable[[Request, Caller], Awaitable[Response]]:
        async def put(request: Request, caller: Caller) -> Response:
            name = named(request)
            held = version_held(request.headers.get("if-match"))
            asked = await body_json(request, StateRequest)
            for _ in range(RULES_TRIES_MAX):
                done = await self._put(name, asked, held, caller)
                if done is not None:
                    return _answer(done)
            raise refuse(Code.NOT_READY, "the rules change just now; repeat the request", retry_after_s=1)

        return put

    async def _put(self, name: Name, asked: StateRequest, held: int, caller: Caller) -> Stated | None:
        """The entry as it stands; None when the rules changed meanwhile. Raises ProblemError."""
        services = self._services
        rules = await self._rules()
        _raise(undeclared(name, rules.policy) or unfit(name, asked.weight, asked.addresses, rules.policy))
        wanted = Stated(entry=name.text, version=0, drain=asked.drain, weight=asked.weight, addresses=asked.addresses)
        done = await store.put(
            services.pool,
            services.clock,
            wanted,
            held=held,
            under=rules.digest,
            actor=caller.actor,
            reason=asked.reason,
        )
        if isinstance(done, store.RulesChanged):
            return None
        if isinstance(done, store.Otherwise):
            raise refuse(
                Code.PRECONDITION_FAILED, "the entry changed since; read it again and decide anew", version=done.version
            )
        if done.seq is not None:
            services.commits.committed(done.seq)
            log.info("registry_changed", entry=name.text, seq=done.seq, actor=caller.actor)
        return done.stated

    async def _rules(self) -> Rules:
        """Raises ProblemError where none can be had."""
        rules = await self._services.rules.current()
        if isinstance(rules, Problem):
            raise ProblemError(rules)
        return rules


def version_held(if_match: str | None) -> int:
    """The version that a caller holds: one strong entity tag (RFC 9110 section 13.1.1), "0" of an entry that nobody stated yet.
    Pure. Raises ProblemError."""
    match = _VERSION.match(if_match.strip()) if if_match is not None and len(if_match) <= 64 else None
    if match is None:
        raise refuse(
            Code.BAD_REQUEST, 'state the version that you hold: If-Match with one strong entity tag, such as "0"'
        )
    return int(match[1])


def operations(services: Services) -> list[Operation]:
    calls = RegistryCalls(services)
    return [*_lists(calls), *(one for path, word, named in _ENTRIES for one in _entry(calls, path, word, named))]


def _lists(calls: RegistryCalls) -> list[Operation]:
    return [
        Operation(
            method="GET",
            path="/v1/registry",
            name="registry",
            summary="Everything that policy declares: addresses, weights, drains",
            roles=_READERS,
            handler=calls.all,
            answers={200: RegistryAnswer},
        ),
        Operation(
            method="GET",
            path="/v1/registry/history",
            name="registryHistory",
            summary="What was said of which entry, by whom and why",
            roles=("operator",),
            handler=calls.history,
            parameters=(
                Parameter(name="entry", schema={"type": "string"}, description="only this one's, such as cells/eu-de"),
                *PAGED,
            ),
            answers={200: RegistryHistoryPage},
        ),
    ]


def _region(request: Request) -> Name:
    return region_name(RegionId(_slug(request, "region")))


def _cell(request: Request) -> Name:
    return cell_name(CellId(_slug(request, "cell")))


def _shard(request: Request) -> Name:
    return shard_name(CellId(_slug(request, "cell")), ShardId(_slug(request, "shard")))


def _service(request: Request) -> Name:
    return service_name(ServiceId(_slug(request, "service")), CellId(_slug(request, "cell")))


_ENTRIES: tuple[tuple[str, str, Callable[[Request], Name]], ...] = (
    ("regions/{region}", "Region", _region),
    ("cells/{cell}", "Cell", _cell),
    ("cells/{cell}/shards/{shard}", "Shard", _shard),
    ("services/{service}/cells/{cell}", "ServiceInCell", _service),
)


def _entry(calls: RegistryCalls, path: str, word: str, named: Callable[[Request], Name]) -> list[Operation]:
    return [
        Operation(
            method="GET",
            path=f"/v1/registry/{path}",
            name=f"registry{word}",
            summary="One entry; its ETag is its version, 0 while nobody has stated it",
            roles=_READERS,
            handler=calls.one(named),
            answers={200: EntryAnswer},
            refusals=(Code.NOT_FOUND,),
        ),
        Operation(
            method="PUT",
            path=f"/v1/registry/{path}",
            name=f"state{word}",
            summary="Make the entry say this, all of it; placements follow at once",
            roles=("operator",),
            handler=calls.put(named),
            body=StateRequest,
            parameters=(
                Parameter(
                    name="If-Match",
                    place="header",
                    schema={"type": "string"},
                    description="the version held, quoted; demanded",
                ),
            ),
            answers={200: EntryAnswer},
            refusals=(Code.NOT_FOUND, Code.UNPROCESSABLE, Code.PRECONDITION_FAILED),
        ),
    ]


def _slug(request: Request, what: str) -> str:
    return parse_slug(request.path_params[what], what)


def _raise(problem: Problem | None) -> None:
    if problem is not None:
        raise ProblemError(problem)


def _answer(stated: Stated) -> Response:
    return json_response(EntryAnswer(entry=stated), 200, {"etag": f'"{stated.version}"'})
