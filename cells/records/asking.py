"""What a request on a table asks for, once everything has been checked that its head tells."""

from collections.abc import Mapping

import msgspec
from starlette.requests import Request

from cells.records import errors, media
from cells.records.admission import Admitted, admitted, admitted_now, first_of, text
from cells.records.contracts import Contract
from cells.records.core import Bound, Grant, bind, grant
from cells.records.dialect import parse_query
from cells.records.limits import Limiter
from cells.records.media import Media
from cells.records.preferences import NONE, Preferences, parse_preferences
from cells.records.query import Query
from cells.records.ranges import Page, page
from cells.records.texts import KnownAs
from cells.service.context import Context
from cells.shards.shard import Shard
from foundation.decision import Decision
from foundation.problems import Code, Problem, ProblemError
from foundation.wire.head import Fields
from foundation.words import Epoch, SubjectId, Verb

GRANTS_MAX = 10_000
"""Grants remembered, one for each table, audience and purpose that was decided for."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request as understood before its body is read."""

    decision: Decision
    subject: SubjectId
    epoch: Epoch
    verb: Verb
    contract: Contract
    shard: Shard
    known_as: KnownAs
    granted: Grant
    bound: Bound
    query: Query
    page: Page
    preferences: Preferences
    media: Media
    method: str


class Asking:
    """Understands requests over one cell's context and contracts: everything that can be refused at the head is refused here."""

    def __init__(self, context: Context, contracts: Mapping[str, Contract], rows_max: int, limiter: Limiter) -> None:
        self._context = context
        self._contracts = contracts
        self._rows_max = rows_max
        self._limiter = limiter
        self._grants: dict[KnownAs, Grant] = {}

    async def understood(self, request: Request) -> Asked:
        """Raises ProblemError."""
        who = await admitted(self._context, request, self._limiter)
        scope = request.scope
        return self._understood(
            who, request.method, request.path_params["table"], scope["query_string"], scope["headers"]
        )

    def understood_now(self, method: str, table: str, query: bytes, headers: Fields) -> Asked | None:
        """The same, and nothing is counted; None where the service's token has to be looked at, or limits let the subject not in at once.
        Raises ProblemError."""
        who = admitted_now(self._context, first_of(headers), method)
        if who is None or not self._limiter.room(who.subject):
            return None
        return self._understood(who, method, table, query, headers)

    def _understood(self, who: Admitted, method: str, table: str, sent: bytes, headers: Fields) -> Asked:
        """Raises ProblemError."""
        decision, verb = who.decision, who.verb
        contract = self._contracts.get(table)
        if contract is None:
            message = f"Could not find the table '{table}' in the schema cache"
            raise errors.dialect(errors.NO_TABLE, message, code=Code.NOT_FOUND)
        shard = self._context.shard_of(who.home)
        shard.require().tables.require(contract.table, verb)
        bound = bind(contract, decision)
        if isinstance(bound, Problem):
            raise ProblemError(bound)
        query = parse_query(_query_string(sent))
        fields = who.fields
        if verb is Verb.WRITE and method != "DELETE":
            media.check_sent(fields.get(b"content-type", b"application/json").decode("latin-1"))
        ranged = verb is Verb.READ and b"range" in fields
        rows_asked = (
            page(query, self._rows_max, header=text(fields, b"range"), unit=text(fields, b"range-unit"))
            if ranged
            else page(query, self._rows_max)
        )
        accepted = media.accepted(fields.get(b"accept", b"*/*").decode("latin-1"))
        known_as = contract.table, who.service, decision.purpose
        return Asked(
            decision=decision,
            subject=who.subject,
            epoch=who.epoch,
            verb=verb,
            contract=contract,
            shard=shard,
            known_as=known_as,
            granted=self._grants.get(known_as) or self._grant(contract, known_as),
            bound=bound,
            query=query,
            page=rows_asked,
            preferences=parse_preferences(_preferred(headers)) if b"prefer" in fields else NONE,
            media=accepted,
            method=method,
        )

    def _grant(self, contract: Contract, named: KnownAs) -> Grant:
        if len(self._grants) >= GRANTS_MAX:
            self._grants.clear()
        made = self._grants[named] = grant(contract, *named[1:])
        return made


def _preferred(headers: Fields) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name == b"prefer"]


def _query_string(raw: bytes) -> str:
    """Raises ProblemError for what no target of a request may hold (RFC 3986 section 2)."""
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError as exc:
        raise errors.dialect(errors.QUERY, "characters beyond ASCII are percent-encoded in a query string") from exc
