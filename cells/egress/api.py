"""Egress over HTTP: routes and their OpenAPI document.

A product service hands events over, and gets back what of them may leave for a destination and purpose: `POST /cell/egress/events` takes a
batch, `POST /cell/egress/stream` as many as there are. Operators ask what would leave, and how releases stand.
"""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cells.egress.asking import Asking
from cells.egress.calls import EgressCalls
from cells.egress.operations import of_operators, of_services
from cells.egress.settings import EgressSettings
from cells.records.contracts import Contract
from cells.service.context import Context
from directory import openapi
from directory.operations import routes as routes_of
from foundation.http import ServiceAuth, json_response

DOCUMENT = "/cell/egress/openapi.json"
_TITLE = "domicile egress"
_DESCRIPTION = "What may leave a cell for a destination and purpose, as contract, law and people themselves have it."


def routes(
    context: Context, contracts: Mapping[str, Contract], settings: EgressSettings | None, operators: ServiceAuth
) -> list[Route]:
    """`operators`: authenticates tokens whose audience is this cell. Raises SettingsError for keys that cannot be read, and where a scanner
    that is wanted is not installed."""
    calls = EgressCalls(context, Asking(context, contracts, settings), settings)
    services, asking = of_services(calls), of_operators(calls)
    told = openapi.document((*services, *asking), version="1", title=_TITLE, description=_DESCRIPTION)

    async def document(request: Request) -> Response:
        return json_response(told)

    return [
        *routes_of(services, context.auth),
        *routes_of(asking, operators),
        Route(DOCUMENT, document, methods=["GET"]),
    ]
