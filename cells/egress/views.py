"""`GET /views/{table}/{subject id}`: what a person of this cell shows to another, by contract, treated for where that other is at home.

The destination is policy's entry with the reader's home cell among its `readers`; law, consent and contract are asked as for a release.
What goes to another cell is recorded with its ground before it is answered; what may not leave is recorded, too, and the reader is told
neither ground nor home. The decision is a gateway's for service `views`, with the reader as its actor, so it opens nothing else here. Like
a release, an answer is out in time or not at all (`timely`).
"""

import asyncio
import datetime
from collections.abc import Mapping, Sequence

import asyncpg
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cells.crossings.bookings import Bookings, unbooked
from cells.crossings.store import Booking
from cells.egress.keys import keys_for
from cells.egress.plan import Release
from cells.egress.reading import consent_statement, merged
from cells.egress.settings import EgressSettings
from cells.egress.timely import ANSWER_S_MAX, Timely, end_of_time
from cells.egress.treating import Batch, Person, Treater
from cells.egress.treatments import Means
from cells.egress.values import OF_DATABASE
from cells.egress.viewing import (
    FENCE_COLUMNS,
    ROWS_MAX,
    Asked,
    Leaving,
    ViewAnswer,
    crossing_of,
    fits,
    refusal_of,
    release_of,
    shown,
    statement,
)
from cells.records import errors
from cells.records.contracts import Contract
from cells.service.context import Context
from cells.shards.core import Refused, check
from directory.client.remote import DirectoryUnavailable
from directory.placement.core import Placement, State, refusal
from foundation.decision import Decision
from foundation.decision_header import HEADER, new_decision_id
from foundation.http import json_response, trace_of
from foundation.problems import Code, Problem, ProblemError, refuse
from foundation.words import (
    VIEWS,
    ActorId,
    MalformedWord,
    RulesDigest,
    SubjectId,
    Verb,
    parse_subject_id,
)
from routing_rules.release import Consent
from routing_rules.rules import Rules
from routing_rules.views import reads_as

AT_ONCE_MAX = 64
TREATERS_MAX = 64
"""Views made ready; beyond it all are made anew."""
NOTHING_SHOWN = Problem(
    code=Code.RESIDENCY_REFUSED, detail="what this person shows, if anything, does not leave for where you are"
)
LATE = Problem(
    code=Code.NOT_READY,
    detail=f"what is shown could not be treated and recorded within {ANSWER_S_MAX:.0f} s",
    retry_after_s=1,
)


def routes(
    context: Context, contracts: Mapping[str, Contract], settings: EgressSettings | None, bookings: Bookings
) -> list[Route]:
    """Raises SettingsError as `cells.egress.api.routes` does."""
    return [Route("/views/{table}/{subject_id}", Views(context, contracts, settings, bookings).answer, methods=["GET"])]


class Views:
    """The handler over one cell's context."""

    def __init__(
        self, context: Context, contracts: Mapping[str, Contract], settings: EgressSettings | None, bookings: Bookings
    ) -> None:
        self._context = context
        self._contracts = contracts
        self._root = None if settings is None else settings.root()
        self._joins = {} if settings is None else settings.joins()
        self._scan = None if settings is None else settings.scanner()
        self._bookings = bookings
        self._under_way = 0
        self._treaters: dict[tuple[str, Release, RulesDigest, datetime.date], Treater] = {}

    async def answer(self, request: Request) -> Response:
        if self._under_way >= AT_ONCE_MAX:
            return errors.response(Problem(code=Code.NOT_READY, detail="too many views at once", retry_after_s=1))
        self._under_way += 1
        end = end_of_time()
        try:
            async with asyncio.timeout_at(end):
                answer = await self._answered(request)
        except TimeoutError:
            return errors.response(LATE)
        except ProblemError as exc:
            return errors.response(exc.problem)
        else:
            return Timely(json_response(answer, headers={"cache-control": "no-store"}), end)
        finally:
            self._under_way -= 1

    async def _answered(self, request: Request) -> ViewAnswer:
        rules = self._context.rules.require()
        asked, person = await self._ask(request, rules)
        left = await self._leaving(asked, person, rules)
        view_id, at = new_decision_id(), self._context.clock.unix_s()
        why = left.refused
        if why is not None:
            await self._context.event_shard().record([refusal_of(asked, why, rules.digest, view_id, at)])
            raise ProblemError(NOTHING_SHOWN)
        if asked.cell != self._context.cell:
            await self._record(asked, left, rules, view_id, at)
        return ViewAnswer(table=asked.contract.table, rows=left.rows, more=left.more)

    async def _ask(self, request: Request, rules: Rules) -> tuple[Asked, Person]:
        """Everything that is known before rows are read. Raises ProblemError."""
        context = self._context
        decision = context.decision(request.headers.get(HEADER), VIEWS)
        subject, reader = _people(decision, request.path_params["subject_id"])
        contract = self._contracts.get(request.path_params["table"])
        if contract is None or not contract.public or decision.epoch is None:
            raise refuse(Code.NOT_FOUND, "no contract shows anything under this name")
        home = context.homes.get(subject)
        refused = check(home, decision.epoch, Verb.READ)
        if refused is not None or home is None:
            raise errors.fenced(refused or Refused(Code.CELL_BEHIND, "this cell does not know the subject yet"))
        shows, reads = await self._placed(subject, reader)
        destination = None if reads is None else reads_as(reads.cell, rules.policy)
        if shows is None or reads is None or destination is None:
            raise ProblemError(NOTHING_SHOWN)
        asked = Asked(
            contract=contract,
            cell=reads.cell,
            subject=subject,
            epoch=decision.epoch,
            home=home,
            release=Release(cell=context.cell, destination=destination, purpose=decision.purpose),
            trace_id=trace_of(request).trace_id,
        )
        return asked, Person(shows.facts.subject, await self._said(asked))

    async def _placed(self, subject: SubjectId, reader: SubjectId) -> tuple[Placement | None, Placement | None]:
        """Both as the directory has them now; None: not active here, or a reader who may not read. Raises ProblemError."""
        try:
            answer = await self._context.directory.resolve_subjects(list({subject, reader}))
        except DirectoryUnavailable as exc:
            raise refuse(Code.NOT_READY, "the directory does not say whose law this is under", retry_after_s=1) from exc
        shows, reads = answer.found.get(subject), answer.found.get(reader)
        here = shows is not None and shows.cell == self._context.cell and shows.state is State.ACTIVE
        return shows if here else None, None if reads is None or refusal(reads.state, Verb.READ) else reads

    async def _said(self, asked: Asked) -> Consent:
        """What the person said to the purpose. Raises ProblemError where that cannot be read."""
        said: dict[SubjectId, Consent] = {}
        for contract in self._contracts.values():
            sql = consent_statement(contract)
            if sql is not None:
                rows = await self._fetch(asked, contract, sql, ([asked.subject], asked.release.purpose))
                said = merged(said, {SubjectId(str(row["person"])): row["given"] for row in rows})
        return said.get(asked.subject, Consent.UNSAID)

    async def _leaving(self, asked: Asked, person: Person, rules: Rules) -> Leaving:
        """The person's rows, treated. Raises ProblemError."""
        made = self._treater(asked, rules)
        rows = await self._fetch(asked, asked.contract, statement(asked.contract), (asked.subject, ROWS_MAX + 1))
        if not rows or not fits(rows[0], asked.epoch):
            raise errors.fenced(Refused(Code.CELL_BEHIND, "the fence does not stand as decided"))
        held = [row[FENCE_COLUMNS:] for row in rows[:ROWS_MAX] if row[FENCE_COLUMNS - 1]]
        columns = {name: [row[at] for row in held] for at, name in enumerate(asked.contract.public)}
        treated = made.treat(Batch([person] * len(held), columns))
        return Leaving(plan=made.plan_of(person), treated=treated, more=len(rows) > ROWS_MAX)

    def _treater(self, asked: Asked, rules: Rules) -> Treater:
        """Raises ProblemError."""
        if self._root is None:
            raise refuse(Code.NOT_READY, "this cell's settings have no [egress]: nothing leaves it")
        day = datetime.datetime.fromtimestamp(self._context.clock.unix_s(), datetime.UTC).date()
        key = (asked.contract.table, asked.release, rules.digest, day)
        found = self._treaters.get(key)
        if found is None:
            if len(self._treaters) >= TREATERS_MAX:
                self._treaters.clear()
            stated = shown(asked.contract)
            keys = keys_for(self._root, asked.release.cell, asked.release.purpose, self._joins)
            means = Means(day, keys, stated.hierarchies)
            found = Treater(stated, asked.release, rules, day, means=means, readers=OF_DATABASE, scan=self._scan)
            self._treaters[key] = found
        return found

    async def _fetch(
        self, asked: Asked, contract: Contract, sql: str, arguments: Sequence[object]
    ) -> list[asyncpg.Record]:
        shard = self._context.shard_of(asked.home)
        shard.require().tables.require(contract.table, Verb.READ)
        try:
            return await shard.fetch(sql, arguments, table=contract.table, verb=Verb.READ)
        except asyncpg.PostgresError as exc:
            await shard.met(contract.table, Verb.READ, exc)
            raise refuse(Code.NOT_READY, f"{contract.table} cannot be read just now", retry_after_s=1) from exc

    async def _record(self, asked: Asked, left: Leaving, rules: Rules, view_id: str, at: float) -> None:
        """Durable before anything is answered. Raises ProblemError."""
        context, policy = self._context, rules.policy
        shard, region = context.shard_of(asked.home), policy.cells[asked.cell].region
        await shard.record([release_of(asked, left, rules.digest, view_id, at)])
        crossing = crossing_of(asked, left, (region, policy.regions[region]), rules.digest, view_id, at)
        outcome = await self._bookings.book(shard, Booking(crossing, ActorId(f"cell:{context.cell}")))
        refused = unbooked(outcome, Verb.READ)
        if refused is not None:
            raise ProblemError(refused)


def _people(decision: Decision, path: str) -> tuple[SubjectId, SubjectId]:
    """Whose view is asked for, and who asks. Raises ProblemError."""
    if decision.subject is None or decision.subject != path or decision.verb is not Verb.READ:
        raise refuse(Code.FORBIDDEN, "a decision to read what this person shows is needed")
    try:
        return decision.subject, parse_subject_id(decision.actor or "")
    except MalformedWord as exc:
        raise refuse(Code.FORBIDDEN, "only persons read what others show") from exc
