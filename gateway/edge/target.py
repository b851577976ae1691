"""What a request line asks for: which service, on which kind of route. Pure.

The service is the first segment of the raw path, byte for byte: nothing is decoded before it is matched, so an encoded slash cannot
name another service. A path that an upstream might normalise upwards (dot segments, also encoded) is refused.
"""

import enum
import re
from urllib.parse import unquote_to_bytes

import msgspec

from foundation.problems import Code, Problem
from foundation.words import VIEWS, MalformedWord, ServiceId, SubjectId, parse_subject_id
from routing_rules.policy import Service

_DOT_SEGMENT = re.compile(rb"(?:^|[/\\])\.{1,2}(?:[;?#/\\\x00]|$)")
"""Whatever else ends a segment for somebody who decodes first."""
_SUSPECT = re.compile(rb"[%\\]|/\.")
_BAD_PATH = Problem(code=Code.BAD_REQUEST, detail="the path may hold no dot segments, encoded or not")
_VIEW = re.compile(rb"/views/[a-z][a-z0-9_]{0,62}/([0-9a-f-]{36})\Z")
_NO_VIEW = Problem(code=Code.BAD_REQUEST, detail="what somebody shows is at /views/{table}/{subject id}")
_ONLY_READ = Problem(code=Code.METHOD_NOT_ALLOWED, detail="what somebody shows is read, by GET")
CONTROL_PATHS = frozenset({b"/healthz", b"/readyz", b"/metrics"})
CONTROL_PREFIX = b"/.well-known/domicile"
METHODS_HELD_BACK = frozenset({"CONNECT", "TRACE"})
"""CONNECT asks for a tunnel past every verdict; TRACE would show the client what was added for the service, its decision too."""
HELD_BACK = Problem(code=Code.METHOD_NOT_ALLOWED, detail="CONNECT and TRACE go no further than here")


class Route(enum.Enum):
    """How a route is treated; policy says which paths are not ordinary."""

    ORDINARY = "ordinary"
    ANONYMOUS = "anonymous"
    SIGNUP = "signup"
    VIEW = "view"
    """What somebody else shows (`gateway.edge.viewing`)."""


ORDINARY = Route.ORDINARY  # a member of an enum is looked up anew each time that it is named


class Target(msgspec.Struct, frozen=True):
    """`of`: whose view is asked for."""

    service: ServiceId
    route: Route
    of: SubjectId | None = None


def target_of(method: str, raw_path: bytes, services: dict[ServiceId, Service]) -> Target | Problem:
    """The service and route of a raw path (without query), or 404 `unknown_service`, 400 for a path that may climb, 405."""
    if method.upper() in METHODS_HELD_BACK:  # some servers read methods in any case
        return HELD_BACK
    if raw_path[:1] != b"/":
        return Problem(code=Code.BAD_REQUEST, detail="the request target is a path")
    if _SUSPECT.search(raw_path) is not None and climbs(raw_path):
        return _BAD_PATH
    name = ServiceId(raw_path[1:].partition(b"/")[0].decode("latin-1"))
    service = services.get(name)
    if service is None:
        return Problem(code=Code.UNKNOWN_SERVICE, detail="the path begins with the name of a service")
    if name == VIEWS:
        return _view(method, raw_path)
    if service.anonymous or service.signup:
        path = raw_path.decode("latin-1")
        if path in service.anonymous:
            return Target(name, Route.ANONYMOUS)
        if method == "POST" and path in service.signup:
            return Target(name, Route.SIGNUP)
    return Target(name, ORDINARY)


def controls(raw_path: bytes) -> bool:
    """Whether it is one of the gateway's own paths."""
    return raw_path in CONTROL_PATHS or raw_path.startswith(CONTROL_PREFIX)


def _view(method: str, raw_path: bytes) -> Target | Problem:
    """`/views/{table}/{subject id}`, byte for byte."""
    found = _VIEW.match(raw_path)
    if found is None:
        return _NO_VIEW
    if method != "GET":
        return _ONLY_READ
    try:
        return Target(VIEWS, Route.VIEW, parse_subject_id(found[1].decode("ascii")))
    except MalformedWord:
        return _NO_VIEW


def climbs(raw_path: bytes) -> bool:
    """Whether a `.` or `..` segment stands in the path, as sent or after decoding once or twice (RFC 3986 section 5.2.4)."""
    once = unquote_to_bytes(raw_path)
    twice = unquote_to_bytes(once)
    return any(_DOT_SEGMENT.search(path) is not None for path in {raw_path, once, twice})


def query_value(query: bytes, name: bytes) -> str | None:
    """The value of a query parameter, percent-decoded, or None. One that stands more than once is all its values in a row: no
    reader further on may take another of them than the edge did."""
    found: list[str] = []
    for pair in query.split(b"&"):
        key, _, value = pair.partition(b"=")
        if unquote_to_bytes(key) == name:
            found.append(unquote_to_bytes(value).decode("latin-1"))
    return ", ".join(found) if found else None
