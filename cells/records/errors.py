"""Refusals of the records API: each carries PostgREST's members (`code`, `message`, `details`, `hint`) and those of a problem document.

Refusals of the house keep their stable `code`; those of the dialect and of Postgres carry PostgREST's or the SQLSTATE.
"""

import asyncpg
import msgspec
from starlette.responses import Response

from cells.shards.core import Refused
from foundation import metrics
from foundation.problems import Code, Problem, ProblemError, refuse

REFUSAL_HEADER = "domicile-refusal"
EPOCH_HEADER = "domicile-epoch"

QUERY = "PGRST100"
BODY = "PGRST102"
RANGE = "PGRST103"
PUT_FILTERS = "PGRST105"
PUT_PAGE = "PGRST114"
PUT_KEY = "PGRST115"
SINGULAR = "PGRST116"
AFFECTED = "PGRST124"
NO_FUNCTIONS = "PGRST202"
NO_COLUMN_IN_BODY = "PGRST204"
NO_TABLE = "PGRST205"
MEDIA = "PGRST107"
PREFERENCE = "PGRST122"
NO_COLUMN = "42703"
NO_RIGHT = "42501"
NO_OPERATOR = "42883"
WRONG_TYPE = "42804"
NOT_A_VALUE = "22P02"
TAKEN = "23505"
LARGE = "DM009"
"""What `domicile.refuse_large()` raises."""

METHODS = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE")
"""What a table answers to."""

_PG_CODE = "pg_code"
"""Member in which a refusal of the dialect carries its code until it is answered."""


def dialect(
    pg_code: str, message: str, *, code: Code = Code.BAD_REQUEST, hint: str | None = None, details: str | None = None
) -> ProblemError:
    """A refusal in PostgREST's words."""
    extra = {_PG_CODE: pg_code, "message": message, "details": details, "hint": hint}
    return ProblemError(Problem(code=code, detail=message, extra=extra))


def fenced(refused: Refused) -> ProblemError:
    """A refusal of the fence."""
    extra = {} if refused.epoch is None else {"epoch": refused.epoch}
    retry = 1 if Problem(code=refused.code, detail="").status == 503 else None
    return ProblemError(Problem(code=refused.code, detail=refused.detail, extra=extra, retry_after_s=retry))


_RETRIED = frozenset(
    {Code.STALE_EPOCH, Code.CELL_BEHIND, Code.SUBJECT_FROZEN, Code.SUBJECT_MOVING, Code.SUBJECT_GONE, Code.NOT_READY}
)
"""Refusals that the gateway must know as the cell's own (docs/architecture.md, "Between gateway and cell")."""


def response(problem: Problem) -> Response:
    """The problem as an answer in both shapes."""
    document = {"message": problem.detail, "details": None, "hint": None, **problem.document()}
    document["code"] = document.pop(_PG_CODE, problem.code.value)
    headers = problem.headers()
    if problem.code in _RETRIED:
        headers[REFUSAL_HEADER] = problem.code.value
    if problem.code is Code.METHOD_NOT_ALLOWED:
        headers["allow"] = ", ".join(METHODS)
    if problem.code is Code.STALE_EPOCH and "epoch" in problem.extra:
        headers[EPOCH_HEADER] = str(problem.extra["epoch"])
    metrics.REFUSALS.labels(problem.code.value).inc()
    return Response(msgspec.json.encode(document), status_code=problem.status, headers=headers)


_STATES = {
    "23505": Code.CONFLICT, "23503": Code.CONFLICT,
    "57014": Code.UPSTREAM_TIMEOUT, "55P03": Code.UPSTREAM_TIMEOUT, "40001": Code.CONFLICT, "40P01": Code.CONFLICT,
    "42804": Code.BAD_REQUEST, "42846": Code.BAD_REQUEST, "42P10": Code.BAD_REQUEST, "21000": Code.BAD_REQUEST,
    "428C9": Code.BAD_REQUEST, "P0001": Code.BAD_REQUEST,
}  # fmt: skip


_CLASSES = {"22": Code.BAD_REQUEST, "23": Code.BAD_REQUEST, "54": Code.TOO_LARGE}
"""Classes of what a caller's own values do: data exceptions, broken constraints, statements over Postgres's limits."""


def of_postgres(error: asyncpg.PostgresError) -> ProblemError | None:
    """What Postgres refused about the caller's own values; None for a fault of ours. Its DETAIL is left out: it quotes whole rows."""
    state = error.sqlstate or ""
    if state == LARGE:
        detail = "what would be given back is too large, so nothing was written: write fewer rows at once, or prefer return=minimal"
        return refuse(Code.TOO_LARGE, detail)
    code = _STATES.get(state) or _CLASSES.get(state[:2])
    return None if code is None else dialect(state, str(error.args[0]) if error.args else "refused", code=code)
