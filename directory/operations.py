"""An API call as a value: path, roles, shapes. Routes and the OpenAPI document are both made from it, so they cannot disagree.

The wrapper is the door: it authenticates, demands a role, and turns malformed words and an absent database into problems. A call without
roles cannot be declared.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from directory.database import DatabaseUnavailable
from foundation import logs
from foundation.http import Caller, ServiceAuth
from foundation.problems import Code, refuse
from foundation.words import MalformedWord

log = logs.get(__name__)

Handler = Callable[[Request, Caller], Awaitable[Response]]


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A query parameter or header, for the document; handlers parse it."""

    name: str
    schema: dict[str, Any]
    description: str
    place: str = "query"
    required: bool = False


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """`roles`: any of them opens the door; `cell:*` stands for every `cell:<id>`, and the handler narrows it.

    `answers`: status → shape; `alternatives`: other shapes of an answer. `refusals`: codes beyond those of every call. `file`: the media
    type of what a 200 carries that is no JSON, instead of an answer or besides; `takes`: that of such a body. `forms`: MessagePack of a
    shape by its media type, which the body may be instead of JSON (`Content-Type`), or where there is no body the 200 (`Accept`). `deep`:
    the last part of the path may have slashes.
    """

    method: str
    path: str
    name: str
    summary: str
    roles: Annotated[tuple[str, ...], Meta(min_length=1)]
    handler: Handler
    answers: dict[int, type[msgspec.Struct]] = {}
    alternatives: tuple[type[msgspec.Struct], ...] = ()
    body: type[msgspec.Struct] | None = None
    parameters: tuple[Parameter, ...] = ()
    refusals: tuple[Code, ...] = ()
    file: str | None = None
    takes: str | None = None
    forms: dict[str, type[msgspec.Struct]] = {}
    deep: bool = False

    def __post_init__(self) -> None:
        if not self.roles:
            raise ValueError(f"{self.name}: a call needs roles")
        if not self.answers and self.file is None:
            raise ValueError(f"{self.name}: a call needs an answer")

    @property
    def route(self) -> str:
        """The path as Starlette takes it."""
        return f"{self.path.removesuffix('}')}:path}}" if self.deep else self.path


def routes(operations: Sequence[Operation], auth: ServiceAuth) -> list[Route]:
    return [Route(one.route, _endpoint(one, auth), methods=[one.method], name=one.name) for one in operations]


def _endpoint(operation: Operation, auth: ServiceAuth) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        caller = await auth.caller(request)
        if not any(_matches(role, caller.roles) for role in operation.roles):
            raise refuse(Code.FORBIDDEN, f"needs one of the roles: {', '.join(operation.roles)}")
        try:
            return await operation.handler(request, caller)
        except MalformedWord as exc:
            raise refuse(Code.BAD_REQUEST, str(exc)) from exc
        except DatabaseUnavailable as exc:
            log.warning("database_unavailable", route=operation.path, error=str(exc))
            raise refuse(Code.NOT_READY, "the directory's database did not answer", retry_after_s=1) from exc

    return endpoint


def _matches(role: str, held: frozenset[str]) -> bool:
    if not role.endswith(":*"):
        return role in held
    return any(one.startswith(role[:-1]) and len(one) >= len(role) for one in held)


def scoped(caller: Caller, kind: str) -> frozenset[str]:
    """Ids of the roles `<kind>:<id>` that the caller holds."""
    prefix = f"{kind}:"
    return frozenset(role.removeprefix(prefix) for role in caller.roles if role.startswith(prefix) and role != prefix)
