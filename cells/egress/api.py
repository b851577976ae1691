"""Event egress over HTTP: a product service hands events over, and gets back what of them may leave for a destination and purpose.

`POST /cell/egress/events` takes a batch, `POST /cell/egress/stream` as many as there are (`streams`). Each batch is recorded before it is
answered.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cells.egress.asking import Aim, Asking, EgressAnswer
from cells.egress.settings import EgressSettings
from cells.egress.streams import EVENTS_MAX, Streamed, Streams
from cells.records.contracts import Contract
from cells.service.context import Context
from foundation.http import body_json, json_response
from foundation.problems import Code, refuse

BODY_BYTES_MAX = 4 << 20
WORD_CHARS_MAX = 63

Word = Annotated[str, Meta(min_length=1, max_length=WORD_CHARS_MAX)]


class EgressRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`contract`: the table or event that they are of. Its `placed_by` names the member that holds the subject id of each event."""

    contract: Word
    to: Word
    purpose: Word
    events: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=EVENTS_MAX)]


def routes(context: Context, contracts: Mapping[str, Contract], settings: EgressSettings | None) -> list[Route]:
    """Raises SettingsError for keys that cannot be read, and where a scanner that is wanted is not installed."""
    calls = EgressCalls(context, Asking(context, contracts, settings))
    return [
        Route("/cell/egress/events", calls.events, methods=["POST"]),
        Route("/cell/egress/stream", calls.stream, methods=["POST"]),
    ]


class EgressCalls:
    """The handlers over one cell's context."""

    def __init__(self, context: Context, asking: Asking) -> None:
        self._context = context
        self._asking = asking
        self._streams = Streams()

    async def events(self, request: Request) -> Response:
        service = await self._context.product_service(request)
        self._context.rules.require()
        asked = await body_json(request, EgressRequest, bytes_max=BODY_BYTES_MAX)
        aim = Aim(contract=asked.contract, to=asked.to, purpose=asked.purpose)
        answer = await self._asking.answer(service, aim, asked.events)
        return json_response(answer, headers={"cache-control": "no-store"})

    async def stream(self, request: Request) -> Response:
        service, aim = await self._context.product_service(request), _aim(request)
        self._asking.checked(service, aim)

        async def treat(events: list[dict[str, Any]]) -> EgressAnswer:
            """The token, too, is looked at for each batch: a stream lasts no longer than it holds."""
            return await self._asking.answer(await self._context.product_service(request), aim, events)

        return Streamed(treat, self._streams)


def _aim(request: Request) -> Aim:
    """Of the query string. Raises ProblemError."""
    given = request.query_params
    words = {name: given.get(name, "") for name in ("contract", "to", "purpose")}
    if set(given) != set(words) or not all(0 < len(word) <= WORD_CHARS_MAX for word in words.values()):
        raise refuse(Code.BAD_REQUEST, "say ?contract=, to= and purpose=, and nothing else")
    return Aim(**words)
