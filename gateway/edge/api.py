"""What the edge answers itself: the preview of a home before sign-up."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from foundation.http import json_response
from foundation.problems import Code, Problem, ProblemError, refuse
from foundation.words import Country, ServiceId
from gateway.edge.declared import subject_of
from gateway.edge.desk import Desk
from gateway.edge.target import query_value
from routing_rules.facts import PlaceFacts
from routing_rules.verdicts import NoCell


def routes(desk: Desk) -> list[Route]:
    """`GET /.well-known/domicile/preview?residence=DE&service=orders`: where a sign-up would go, without any personal data.

    It takes what a sign-up takes (`gateway.edge.declared`), and shows the questions that it would raise.
    """

    async def preview(request: Request) -> Response:
        book = desk.open_book()
        if isinstance(book, Problem):
            raise ProblemError(book)
        query = request.scope["query_string"]
        declared = subject_of(*(query_value(query, name) for name in (b"residence", b"subdivision", b"citizenship")))
        if isinstance(declared, Problem):
            raise ProblemError(declared)
        service = ServiceId(request.query_params.get("service", ""))
        if service not in book.policy.services:
            raise refuse(Code.UNKNOWN_SERVICE, "state a service of this product: ?service=orders")
        answer = book.place(PlaceFacts(subject=declared, services=(service,), observed=_observed(desk, request)))
        if isinstance(answer, NoCell):
            raise refuse(answer.code, answer.detail, ground=answer.ground)
        taking = [cell for cell in answer.cells if book.takes(cell, service)] or answer.cells
        regions = [book.policy.cells[cell].region for cell in taking]
        region = desk.region if desk.region in regions else regions[0]
        return json_response(
            {
                "jurisdiction": answer.regimes[0],
                "region": region,
                "home": book.policy.regions[region].origin,
                "ground": answer.ground,
                "questions": answer.questions,
            }
        )

    return [Route("/.well-known/domicile/preview", preview, methods=["GET"])]


def _observed(desk: Desk, request: Request) -> Country | None:
    forwarded_for = [value for name, value in request.headers.raw if name == b"x-forwarded-for"]
    return desk.observe(request.client.host if request.client else "", forwarded_for)
