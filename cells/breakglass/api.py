"""`/access/…` of a cell: routes and their OpenAPI document."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cells.breakglass.calls import AccessCalls
from cells.breakglass.operations import operations
from directory import openapi
from directory.operations import routes as routes_of
from foundation.http import json_response

DOCUMENT = "/access/openapi.json"
_TITLE = "domicile break-glass"
_DESCRIPTION = "Requests for access, their approval, certificates. Every step is an entry of the cell's ledger."


def routes(calls: AccessCalls, *, version: str = "1") -> list[Route]:
    declared = operations(calls)
    told = openapi.document(declared, version=version, title=_TITLE, description=_DESCRIPTION)

    async def document(request: Request) -> Response:
        return json_response(told)

    return [*routes_of(declared, calls.auth), Route(DOCUMENT, document, methods=["GET"])]
