"""`/records/{table}`: one decided request, one fenced statement, an answer as PostgREST gives it."""

from collections.abc import Mapping, Sequence

import asyncpg
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cells.records import body, errors
from cells.records.contracts import Contract
from cells.records.core import Bound, Grant, bind, grant
from cells.records.dialect import Preferences, Query, Returned, parse_preferences, parse_query
from cells.records.statements import Builder, Statement
from cells.service.context import Context
from cells.shards.core import Refused, check
from cells.shards.shard import Shard
from foundation import logs
from foundation.decision_header import Decision
from foundation.http import body_bytes
from foundation.problems import Code, Problem, ProblemError, refuse
from foundation.words import Epoch, SubjectId, Verb, verb_of_method

log = logs.get(__name__)

METHODS = ["GET", "HEAD", "POST", "PATCH", "DELETE"]
JSON = "application/json; charset=utf-8"
_ACCEPTED = ("*/*", "application/*", "application/json")


def routes(context: Context, contracts: Mapping[str, Contract], rows_max: int) -> list[Route]:
    return [Route("/records/{table}", Records(context, contracts, rows_max).handle, methods=METHODS)]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request as understood before its body is read."""

    decision: Decision
    subject: SubjectId
    epoch: Epoch
    verb: Verb
    contract: Contract
    shard: Shard
    granted: Grant
    bound: Bound
    query: Query
    preferences: Preferences


class Records:
    """The handler over one cell's context and contracts."""

    def __init__(self, context: Context, contracts: Mapping[str, Contract], rows_max: int) -> None:
        self._context = context
        self._contracts = contracts
        self._rows_max = rows_max

    async def handle(self, request: Request) -> Response:
        try:
            asked = await self._ask(request)
            statement = await self._statement(request, asked)
            rows = await self._run(asked, statement)
            return _answer(request, asked, rows)
        except ProblemError as exc:
            return errors.response(exc.problem)

    async def _ask(self, request: Request) -> Asked:
        """Everything that can be refused at the head. Raises ProblemError."""
        context = self._context
        service = await context.audience(request)
        decision = context.decision(request, service)
        verb = verb_of_method(request.method)
        if decision.subject is None or decision.epoch is None or decision.verb is Verb.SIGNUP:
            raise refuse(Code.FORBIDDEN, "a decision about a subject is needed")
        if verb is Verb.WRITE and decision.verb is not Verb.WRITE:
            raise refuse(Code.FORBIDDEN, "a decision to read does not write")
        home = context.homes.get(decision.subject)
        refused = check(home, decision.epoch, verb)
        if refused is not None or home is None:
            raise errors.fenced(refused or Refused(Code.CELL_BEHIND, "this cell does not know the subject yet"))
        contract = self._contract(request.path_params["table"])
        shard = context.shard_of(home)
        why = shard.require().refused.get(contract.table)
        if why is not None:
            raise refuse(Code.NOT_READY, f"the table does not fit its contract: {why}", retry_after_s=5)
        bound = bind(contract, decision)
        if isinstance(bound, Problem):
            raise ProblemError(bound)
        _check_media(request)
        return Asked(
            decision=decision,
            subject=decision.subject,
            epoch=decision.epoch,
            verb=verb,
            contract=contract,
            shard=shard,
            granted=grant(contract, service, decision.purpose),
            bound=bound,
            query=parse_query(request.url.query),
            preferences=parse_preferences(request.headers.getlist("prefer")),
        )

    def _contract(self, table: str) -> Contract:
        contract = self._contracts.get(table)
        if contract is None:
            message = f"Could not find the table '{table}' in the schema cache"
            raise errors.dialect(errors.NO_TABLE, message, code=Code.NOT_FOUND)
        return contract

    async def _statement(self, request: Request, asked: Asked) -> Statement:
        builder = Builder(asked.contract, asked.granted, asked.bound, rows_max=self._rows_max)
        returned = asked.preferences.returned
        match request.method:
            case "POST":
                raw = await body_bytes(request)
                return builder.insert(
                    body.inserted(raw, asked.contract, asked.granted, asked.bound), asked.query, returned
                )
            case "PATCH":
                raw = await body_bytes(request)
                return builder.update(
                    body.changed(raw, asked.contract, asked.granted, asked.bound), asked.query, returned
                )
            case "DELETE":
                return builder.delete(asked.query, returned)
            case _:
                return builder.read(asked.query)

    async def _run(self, asked: Asked, statement: Statement) -> Sequence[str]:
        """The rows' JSON. Raises ProblemError; a statement whose fence did not hold has done nothing."""
        try:
            rows = await asked.shard.fetch(statement.sql, statement.arguments)
        except asyncpg.PostgresError as exc:
            problem = errors.of_postgres(exc)
            if problem is None:
                raise
            raise problem from exc
        if asked.verb is Verb.WRITE:
            if not rows[0]["held"]:
                raise await self._why(asked)
        elif rows[0]["epoch"] != asked.epoch or rows[0]["state"] not in ("active", "frozen"):
            raise await self._why(asked)
        return [row["row"] for row in rows if row["row"] is not None]

    async def _why(self, asked: Asked) -> ProblemError:
        """What the fence says now; a cut in progress, or one that has just ended, asks for another try."""
        home, closing = await asked.shard.fence(asked.subject)
        if home is not None:
            self._context.homes.put(asked.subject, home)
        refused = None if closing else check(home, asked.epoch, asked.verb)
        return errors.fenced(refused or Refused(Code.CELL_BEHIND, "the fence is being raised"))


def _check_media(request: Request) -> None:
    accepted = [part.split(";")[0].strip().lower() for part in request.headers.get("accept", "*/*").split(",")]
    if not any(one in _ACCEPTED for one in accepted):
        raise errors.dialect(errors.MEDIA, "only application/json is answered here")
    sent = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if request.method in ("POST", "PATCH") and sent != "application/json":
        raise errors.dialect(errors.BODY, "Content-Type is application/json here")
    if "range" in request.headers:
        raise errors.dialect(errors.QUERY, "use limit and offset instead of Range")


def _answer(request: Request, asked: Asked, rows: Sequence[str]) -> Response:
    headers = {"cache-control": "no-store"}
    if asked.preferences.applied and asked.verb is Verb.WRITE:
        headers["preference-applied"] = ", ".join(asked.preferences.applied)
    document = f"[{','.join(rows)}]"
    if asked.verb is Verb.READ:
        first = asked.query.offset
        headers["content-range"] = f"{first}-{first + len(rows) - 1}/*" if rows else "*/*"
        return Response(document, media_type=JSON, headers=headers)
    created = request.method == "POST"
    match asked.preferences.returned:
        case Returned.REPRESENTATION:
            return Response(document, status_code=201 if created else 200, media_type=JSON, headers=headers)
        case Returned.HEADERS_ONLY if created and len(rows) == 1:
            headers["location"] = f"/records/{asked.contract.table}?id=eq.{msgspec.json.decode(rows[0])['id']}"
        case _:
            pass
    return Response(status_code=201 if created else 204, headers=headers)
