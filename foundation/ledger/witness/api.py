"""`POST /add-checkpoint`, the one call of a witness. A checkpoint's signature is all that authenticates it, as the protocol has it."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from foundation.http import Ready, application, body_bytes
from foundation.ledger.witness import requests
from foundation.ledger.witness.core import Refused
from foundation.ledger.witness.witness import Witness
from foundation.problems import Code, refuse

PENDING_MAX = 64
"""Submissions that wait for their turn; more are told to come back."""
TEXT = "text/plain; charset=utf-8"


def witness_application(witness: Witness, ready: Ready) -> ASGIApp:
    return application(routes(witness), ready=ready)


def routes(witness: Witness) -> list[Route]:
    """Answers with a line of text and the protocol's status; 413, and 503 before the protocol is reached, are problem documents."""
    pending = 0

    async def add_checkpoint(request: Request) -> Response:
        nonlocal pending
        body = await body_bytes(request, bytes_max=requests.BODY_BYTES_MAX)
        if pending >= PENDING_MAX:
            raise refuse(Code.NOT_READY, "too many submissions wait here", retry_after_s=1)
        pending += 1
        try:
            return _response(await asyncio.to_thread(witness.add, body))
        finally:
            pending -= 1

    return [Route(requests.PATH, add_checkpoint, methods=["POST"])]


def _response(answer: bytes | Refused) -> Response:
    if isinstance(answer, bytes):
        return Response(answer, media_type=TEXT)
    if answer.held is not None:
        response = Response(requests.size_body(answer.held), status_code=answer.status)
        # Exactly so: Starlette would add a charset.
        response.headers["content-type"] = requests.SIZE_TYPE
        return response
    headers = {"retry-after": "1"} if answer.status == 503 else None
    return Response(f"{answer.detail}\n", status_code=answer.status, media_type=TEXT, headers=headers)
