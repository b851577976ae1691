"""Refusals as values, and their one translation into problem documents (RFC 9457).

A `Code` is stable: clients match on it. A refusal inside the program is a `Problem` value; `ProblemError` carries one through a
Starlette route and is turned into a response in one place (`foundation.http`).
"""

import enum
from typing import Any

import msgspec


class Code(enum.StrEnum):
    """Stable refusal codes. The value is what clients see in `code`."""

    BAD_REQUEST = "bad_request"
    MALFORMED_TOKEN = "malformed_token"  # noqa: S105 - a code, not a token
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    UNKNOWN_SERVICE = "unknown_service"
    NOT_FOUND = "not_found"
    NO_HOME = "no_home"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_ACCEPTABLE = "not_acceptable"
    REQUEST_TIMEOUT = "request_timeout"
    CONFLICT = "conflict"
    STALE_EPOCH = "stale_epoch"
    KEY_TAKEN = "key_taken"
    ALREADY_PLACED = "already_placed"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    PRECONDITION_FAILED = "precondition_failed"
    TOO_LARGE = "too_large"
    TARGET_TOO_LONG = "target_too_long"
    RANGE_NOT_SATISFIABLE = "range_not_satisfiable"
    EXPECTATION_FAILED = "expectation_failed"
    HOME_ELSEWHERE = "home_elsewhere"
    RESIDENCE_REQUIRED = "residence_required"
    UNPROCESSABLE = "unprocessable"
    UPGRADE_REQUIRED = "upgrade_required"
    RATE_LIMITED = "rate_limited"
    HEAD_TOO_LARGE = "head_too_large"
    RESIDENCY_REFUSED = "residency_refused"
    NO_CELL_ALLOWED = "no_cell_allowed"
    NOT_PLACED_FOR_SERVICE = "not_placed_for_service"
    SUBJECT_FROZEN = "subject_frozen"
    SUBJECT_MOVING = "subject_moving"
    SUBJECT_GONE = "subject_gone"
    HOME_UNKNOWN = "home_unknown"
    NOT_READY = "not_ready"
    CELL_UNREACHABLE = "cell_unreachable"
    CELL_BUSY = "cell_busy"
    CELL_BEHIND = "cell_behind"
    UPSTREAM_BROKEN = "upstream_broken"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    INTERNAL = "internal"
    VERSION_NOT_SUPPORTED = "version_not_supported"


_STATUS: dict[Code, tuple[int, str]] = {
    Code.BAD_REQUEST: (400, "The request is malformed"),
    Code.MALFORMED_TOKEN: (401, "The token is malformed"),
    Code.UNAUTHENTICATED: (401, "A valid token is needed"),
    Code.FORBIDDEN: (403, "This credential may not do that"),
    Code.UNKNOWN_SERVICE: (404, "No such service"),
    Code.NOT_FOUND: (404, "Nothing is here"),
    Code.NO_HOME: (404, "This person has no home yet"),
    Code.METHOD_NOT_ALLOWED: (405, "The method is not allowed here"),
    Code.NOT_ACCEPTABLE: (406, "The answer cannot have the form that was asked for"),
    Code.REQUEST_TIMEOUT: (408, "The request did not arrive in time"),
    Code.CONFLICT: (409, "The request conflicts with what is stored"),
    Code.STALE_EPOCH: (409, "The decision was made under an older epoch"),
    Code.KEY_TAKEN: (409, "A lookup key belongs to another subject"),
    Code.ALREADY_PLACED: (409, "This person already has a home"),
    Code.IDEMPOTENCY_MISMATCH: (422, "The idempotency key was used for another request"),
    Code.PRECONDITION_FAILED: (412, "What was compared with holds no more"),
    Code.TOO_LARGE: (413, "The request is too large"),
    Code.TARGET_TOO_LONG: (414, "The request target is too long"),
    Code.RANGE_NOT_SATISFIABLE: (416, "There are no such rows"),
    Code.EXPECTATION_FAILED: (417, "What the request expects is not done here"),
    Code.HOME_ELSEWHERE: (421, "This person's home is another region"),
    Code.RESIDENCE_REQUIRED: (400, "A sign-up states the residence first"),
    Code.UNPROCESSABLE: (422, "The request cannot be carried out as it stands"),
    Code.UPGRADE_REQUIRED: (426, "Another version of the protocol is spoken here"),
    Code.RATE_LIMITED: (429, "Too many requests"),
    Code.HEAD_TOO_LARGE: (431, "The head of the request is too large"),
    Code.RESIDENCY_REFUSED: (451, "Residency rules refuse this request"),
    Code.NO_CELL_ALLOWED: (451, "No cell may hold this person's data"),
    Code.NOT_PLACED_FOR_SERVICE: (451, "The placement was not made for this service"),
    Code.SUBJECT_FROZEN: (503, "The person's data is frozen for a moment"),
    Code.SUBJECT_MOVING: (503, "The person's data is on the move"),
    Code.SUBJECT_GONE: (404, "This person's home is no more"),
    Code.HOME_UNKNOWN: (503, "The home cannot be established just now"),
    Code.NOT_READY: (503, "The service is not ready"),
    Code.CELL_UNREACHABLE: (502, "The home cell cannot be reached"),
    Code.CELL_BUSY: (503, "The home cell has too much under way"),
    Code.CELL_BEHIND: (503, "The home cell has not caught up yet"),
    Code.UPSTREAM_BROKEN: (502, "The service broke off its answer"),
    Code.UPSTREAM_TIMEOUT: (504, "The service did not answer in time"),
    Code.INTERNAL: (500, "Something broke here"),
    Code.VERSION_NOT_SUPPORTED: (505, "This version of HTTP is not spoken here"),
}


def status_of(code: Code) -> int:
    return _STATUS[code][0]


def title_of(code: Code) -> str:
    return _STATUS[code][1]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One refusal. `detail` says what to do and holds no personal data; `extra` becomes members of the document.

    The records API puts a dialect's own `code` there (PostgREST's, an SQLSTATE), which then stands instead of the house's.
    """

    code: Code
    detail: str
    extra: dict[str, Any] = {}
    retry_after_s: int | None = None

    @property
    def status(self) -> int:
        return status_of(self.code)

    def document(self) -> dict[str, Any]:
        """RFC 9457 section 3.1 members, with `code` and the extra members of section 3.2."""
        return {
            "type": f"urn:domicile:problem:{self.code.value}",
            "title": title_of(self.code),
            "status": self.status,
            "detail": self.detail,
            "code": self.code.value,
            **self.extra,
        }

    def headers(self) -> dict[str, str]:
        headers = {"content-type": "application/problem+json", "cache-control": "no-store"}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(self.retry_after_s)
        if self.status == 413:
            # The rest of the body will not be read (RFC 9110 section 15.5.14).
            headers["connection"] = "close"
        if self.status == 426:
            # What is spoken instead (RFC 9110 section 15.5.22, RFC 6455 section 4.4).
            headers |= {"connection": "close, upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers

    def encode(self) -> bytes:
        return msgspec.json.encode(self.document())


class ProblemError(Exception):
    """Carries a `Problem` out of a route; `foundation.http` turns it into the response."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.code.value}: {problem.detail}")
        self.problem = problem


def refuse(code: Code, detail: str, *, retry_after_s: int | None = None, **extra: Any) -> ProblemError:
    """`raise refuse(Code.NOT_FOUND, "...")` reads as it acts."""
    return ProblemError(Problem(code=code, detail=detail, extra=extra, retry_after_s=retry_after_s))
