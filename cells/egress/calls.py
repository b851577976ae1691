"""Handlers of `/cell/egress`: events of product services, and what operators of the cell ask about releases."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from cells.egress.asking import Aim, Asking, EgressAnswer
from cells.egress.events import Given
from cells.egress.plan import TablePlan
from cells.egress.settings import EgressSettings
from cells.egress.streams import EVENTS_MAX, Streamed, Streams
from cells.egress.telling import newest, one_run
from cells.egress.timely import ANSWER_S_MAX, Timely, end_of_time
from cells.egress.treating import Person
from cells.service.context import Context
from foundation.http import Caller, body_bytes, body_json, json_response, query_int
from foundation.problems import Code, refuse
from foundation.settings import SettingsError
from foundation.words import ServiceId, parse_country
from routing_rules.facts import SubjectFacts
from routing_rules.release import Consent

T = TypeVar("T")
BODY_BYTES_MAX = 4 << 20
WORD_CHARS_MAX = 63
ARROW = "application/vnd.apache.arrow.stream"
"""RFC 6838, as IANA has it: the stream format of Arrow's IPC."""
PAGE_MAX, PAGE_USUAL = 200, 50
_UNCACHED = {"cache-control": "no-store"}
_AIM = ("contract", "to", "purpose")

Word = Annotated[str, Meta(min_length=1, max_length=WORD_CHARS_MAX)]


class EgressRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`contract`: the table or event that they are of. Its `placed_by` names the member that holds the subject id of each event."""

    contract: Word
    to: Word
    purpose: Word
    events: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=EVENTS_MAX)]


class PlanTold(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of each field of the contract for a person of that residence who said that. `goes`: whether any of it leaves.
    `unmade`: fields that the plan lets leave and that cannot be made, with the reason."""

    residence: str
    consent: Consent
    goes: bool
    plan: TablePlan
    unmade: dict[str, str]


class EgressCalls:
    """The handlers over one cell's context."""

    def __init__(self, context: Context, asking: Asking, settings: EgressSettings | None) -> None:
        self._context = context
        self._asking = asking
        self._settings = settings
        self._streams = Streams()

    async def events(self, request: Request, _: Caller) -> Response:
        service = await self._context.product_service(request)
        self._context.rules.require()
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == ARROW:
            return await self._batches(request, service)
        asked = await body_json(request, EgressRequest, bytes_max=BODY_BYTES_MAX)
        aim = Aim(contract=asked.contract, to=asked.to, purpose=asked.purpose)
        end = end_of_time()
        answer = await _before(end, self._asking.answer(service, aim, asked.events))
        return Timely(json_response(answer, headers=_UNCACHED), end)

    async def _batches(self, request: Request, service: ServiceId) -> Response:
        """Events as record batches, both ways."""
        aim, answer = _aim(request, _AIM), await asyncio.to_thread(_of_batches)
        raw = await body_bytes(request, bytes_max=BODY_BYTES_MAX)
        end = end_of_time()
        given = await _before(end, answer(self._asking, service, aim, raw))
        return Timely(Response(given, media_type=ARROW, headers=_UNCACHED), end)

    async def stream(self, request: Request, _: Caller) -> Response:
        service, aim = await self._context.product_service(request), _aim(request, _AIM)
        read = self._asking.reader(service, aim)

        async def treat(events: list[Given]) -> EgressAnswer:
            """The token, too, is looked at for each batch: a stream lasts no longer than it holds."""
            return await self._asking.answer(await self._context.product_service(request), aim, events)

        return Streamed(treat, self._streams, read)

    async def plan(self, request: Request, _: Caller) -> Response:
        aim = _aim(request, (*_AIM, "residence"), ("consent",))
        given = request.query_params
        said = given.get("consent", Consent.UNSAID.value)
        if said not in set(Consent):
            raise refuse(Code.BAD_REQUEST, f"consent is one of {', '.join(Consent)}")
        person = Person(SubjectFacts(residence=parse_country(given["residence"])), Consent(said))
        made, unmade = self._asking.planned(aim, person)
        told = PlanTold(
            residence=person.subject.residence, consent=person.consent, goes=made.goes, plan=made, unmade=unmade
        )
        return json_response(told, headers=_UNCACHED)

    async def runs(self, request: Request, _: Caller) -> Response:
        limit = query_int(request, "limit", PAGE_USUAL, low=1, high=PAGE_MAX)
        return json_response(await self._of_journals(lambda folder: newest(folder, limit)), headers=_UNCACHED)

    async def run(self, request: Request, _: Caller) -> Response:
        found = await self._of_journals(lambda folder: one_run(folder, request.path_params["run"]))
        if found is None:
            raise refuse(Code.NOT_FOUND, "this cell has no such run")
        return json_response(found, headers=_UNCACHED)

    async def _of_journals(self, read: Callable[[Path], T]) -> T:
        """Raises ProblemError."""
        if self._settings is None:
            raise refuse(Code.NOT_READY, "this cell's settings have no [egress]: nothing leaves it")
        try:
            return await asyncio.to_thread(read, Path(self._settings.folder))
        except (SettingsError, OSError) as exc:
            raise refuse(Code.NOT_READY, "a journal of this cell cannot be read just now", retry_after_s=1) from exc


async def _before(end: float, answer: Awaitable[T]) -> T:
    """By that time of the loop's clock. Raises ProblemError."""
    try:
        async with asyncio.timeout_at(end):
            return await answer
    except TimeoutError as exc:
        what = f"these events could not be treated and recorded within {ANSWER_S_MAX:.0f} s; send them again"
        raise refuse(Code.NOT_READY, what, retry_after_s=1) from exc


def _of_batches() -> Callable[[Asking, ServiceId, Aim, bytes], Awaitable[bytes]]:
    """What answers record batches. Whoever sends none needs no pyarrow, nor the memory that it takes. Raises ProblemError."""
    try:
        from cells.egress.batches import answer
    except ModuleNotFoundError as exc:
        raise refuse(Code.BAD_REQUEST, "this cell has no pyarrow and reads no Arrow; send JSON") from exc
    return answer


def _aim(request: Request, wanted: tuple[str, ...], more: tuple[str, ...] = ()) -> Aim:
    """Of the query string, which says all that is wanted and nothing beyond `more`. Raises ProblemError."""
    given = request.query_params
    words = {name: given.get(name, "") for name in wanted}
    if not set(wanted) <= set(given) <= {*wanted, *more} or not all(
        0 < len(word) <= WORD_CHARS_MAX for word in words.values()
    ):
        raise refuse(Code.BAD_REQUEST, f"say ?{'=, '.join(wanted)}= and nothing else")
    return Aim(contract=words["contract"], to=words["to"], purpose=words["purpose"])
