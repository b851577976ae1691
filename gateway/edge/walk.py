"""A request's way by a task: every wait that its verdict and its answer may need. What needs none is decided in `gateway.edge.lane` by
the same parts: `Desk.gather_now`, `Desk.judge`, `Answerer`."""

from functools import partial

from starlette.types import Send

from directory.placement.core import Placement
from foundation.problems import Code, Problem
from gateway.edge.answerer import Answerer
from gateway.edge.begun import Begun
from gateway.edge.body import Body
from gateway.edge.book import Book
from gateway.edge.desk import Desk
from gateway.edge.exchanges import Exchanges
from gateway.edge.limits.gate import Gate
from gateway.edge.observed import VERDICTS
from gateway.edge.outbound import Outbound
from gateway.edge.outcome import RETRY_AFTER_S, Admitted, Carried, Gathered, Refused
from gateway.edge.records import Records
from gateway.edge.refusing import Refusing, refuse
from gateway.edge.relay import ClientLeft
from gateway.edge.request import Request
from gateway.travel.assembly import Travel
from gateway.travel.carrier import Seen
from routing_rules.verdicts import Hairpin

_CARRIED = VERDICTS.labels("carried")
_HAIRPIN = VERDICTS.labels("hairpin")
_ASKED_ANEW = frozenset({Code.CELL_BEHIND, Code.NO_HOME})
_MOVED_ON = Problem(code=Code.CELL_BEHIND, detail="the home has just moved; try again", retry_after_s=RETRY_AFTER_S)
_NOT_RECORDED = Problem(code=Code.NOT_READY, detail="the access cannot be recorded", retry_after_s=RETRY_AFTER_S)
_NOT_ANSWERED = "what this person shows cannot be asked for just now"
_NOT_BOOKED = Problem(code=Code.NOT_READY, detail="no crossing can be booked here", retry_after_s=RETRY_AFTER_S)
SERVES = VERDICTS.labels("serve")


class Walk:
    """One per gateway."""

    def __init__(
        self,
        *,
        desk: Desk,
        answerer: Answerer,
        exchanges: Exchanges,
        outbound: Outbound,
        records: Records,
        travel: Travel,
        gate: Gate,
    ) -> None:
        self._desk = desk
        self._answerer = answerer
        self._exchanges = exchanges
        self._outbound = outbound
        self._records = records
        self._refusing = Refusing(records)
        self._travel = travel
        self._gate = gate

    async def decided(self, request: Request, body: Body, book: Book, send: Send) -> None:
        """From the facts to the answer."""
        desk = self._desk
        gathered = desk.gather_now(request)
        if gathered is None:
            gathered = await desk.gather(request)
        else:
            desk.known_here(gathered)
        too_many = self._gate.by_person(request.fields, gathered)
        if too_many is not None:
            await refuse(send, too_many, body, request.fields)
            return
        outcome = desk.judge(gathered, book)
        if isinstance(outcome, Refused) and outcome.problem.code in _ASKED_ANEW:
            # Only reserved, or nobody's, when this gateway last heard of it: the directory says what has become of it since.
            # While it cannot say, a reservation is still one; an absence is not, or who has just signed up would be told to do so.
            renewed = await desk.gather_anew(request, gathered)
            if isinstance(renewed.home, Placement) or outcome.problem.code is Code.NO_HOME:
                gathered, outcome = renewed, desk.judge(renewed, book)
        if isinstance(outcome, Refused):
            await self._refusing.turn_away(request, gathered, outcome, body, send)
        elif isinstance(outcome, Carried):
            await self._carry(request, outcome, body, send)
        else:
            await self._admitted(request, gathered, outcome, body, book, send)

    async def _admitted(
        self, request: Request, gathered: Gathered, admitted: Admitted, body: Body, book: Book, send: Send
    ) -> None:
        if self._records.keeps(admitted) or admitted.crosses is not None:
            unready = self._exchanges.turned_away(admitted) or await self._remembered(request, admitted, book)
            if unready is not None:
                await refuse(send, unready, body, request.fields)
                return
        (SERVES if admitted.crosses is None else _HAIRPIN).inc()
        await self.answered(request, gathered, admitted, body, send)

    async def answered(
        self,
        request: Request,
        gathered: Gathered,
        admitted: Admitted,
        body: Body,
        send: Send,
        begun: Begun | None = None,
    ) -> None:
        """From the admission to the answer. `begun`: the first exchange, if it is under way already."""
        again = partial(self._anew, request, gathered, admitted)
        try:
            problem = await self._answerer.answer(request, admitted, body, self._desk, again, send, begun)
        except ClientLeft:
            return
        if problem is not None:
            await refuse(send, problem, body, request.fields)

    async def _anew(self, request: Request, known: Gathered, before: Admitted) -> Admitted | Problem:
        """The verdict anew, over what the directory says now."""
        newest = self._desk.open_book()
        if isinstance(newest, Problem):
            return newest
        renewed = await self._desk.gather_anew(request, known)
        verdict = self._desk.judge(renewed, newest)
        if isinstance(verdict, Refused):
            return self._refusing.problem_of(request, renewed, verdict)
        if isinstance(verdict, Carried):
            return _MOVED_ON
        if (verdict.cell, verdict.subject) == (before.cell, before.subject):  # what must be on record is
            return verdict
        return await self._remembered(request, verdict, newest) or verdict

    async def _remembered(self, request: Request, admitted: Admitted, book: Book) -> Problem | None:
        """What must be on record before it happens: a crossing in the home cell, an access here. None once it is."""
        if self._records.keeps(admitted) and not self._records.access(request, admitted):
            return self._records.recorder.problem() or _NOT_RECORDED
        return None if admitted.crosses is None else await self._booked(request, admitted, admitted.crosses, book)

    async def _booked(self, request: Request, admitted: Admitted, crosses: Hairpin, book: Book) -> Problem | None:
        """None once the home cell has the crossing durably."""
        bookings, hop = self._travel.bookings, request.hop
        if bookings is None or hop is None:
            return _NOT_BOOKED
        return await bookings.book(request, hop, admitted, crosses, book.policy)

    async def _carry(self, request: Request, carried: Carried, body: Body, send: Send) -> None:
        """Away from home, the reader's own or that of whoever is read: the gateways there answer."""
        if request.target.of is not None and not self._records.asked_abroad(request, carried):
            await refuse(send, self._records.recorder.problem() or _NOT_RECORDED, body, request.fields)
            return
        _CARRIED.inc()
        client = self._records.client_of(request)
        host, scheme = self._outbound.asked(request)
        seen = Seen(client=client, country=self._records.country_of(client), scheme=scheme, host=host)
        try:
            problem = await self._travel.carrier.carry(request, carried, seen, body, send)
        except ClientLeft:
            return
        if problem is not None and request.target.of is not None:  # it would say where somebody else is at home
            problem = Problem(code=problem.code, detail=_NOT_ANSWERED, retry_after_s=problem.retry_after_s)
        if problem is not None:
            await refuse(send, problem, body, request.fields)
