"""`/ledger/…` of a cell: the calls over its log, for operators of this cell, and their OpenAPI document."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from directory import openapi
from directory.ledger.api import operations
from directory.operations import routes as routes_of
from foundation.http import ServiceAuth, json_response
from foundation.ledger.keeping import Keeping

DOCUMENT = "/ledger/openapi.json"
_TITLE = "domicile ledger"
_DESCRIPTION = "The files of this cell's log, readings of it, and erasing by subject."


def routes(kept: Keeping | None, operators: ServiceAuth, *, version: str = "1") -> list[Route]:
    """`kept`: the log, None where there is none. `operators`: authenticates tokens whose audience is this cell."""
    declared = operations(lambda: kept)
    told = openapi.document(declared, version=version, title=_TITLE, description=_DESCRIPTION)

    async def document(request: Request) -> Response:
        return json_response(told)

    return [*routes_of(declared, operators), Route(DOCUMENT, document, methods=["GET"])]
