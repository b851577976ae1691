"""A crew's own address: `/healthz`, `/readyz`, `/metrics` of all its processes, and who they are (`/workers`)."""

import asyncio
import signal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from foundation.crew import observed
from foundation.crew.channel import Shown
from foundation.crew.crew import Crew, Slot
from foundation.crew.exposition import merged
from foundation.http import application, json_response, problem_response
from foundation.problems import Code, Problem
from foundation.server import serve, signalled


def admin(crew: Crew) -> ASGIApp:
    """`/readyz`: 200 while somebody listens, and all who do would take traffic."""

    async def readyz(request: Request) -> Response:
        problem = unready(await looked_at(crew))
        return problem_response(problem) if problem else json_response({"status": "ready"})

    async def exposition(request: Request) -> Response:
        shown = await looked_at(crew)
        texts = {str(slot.number): one.metrics for slot, one in shown if one is not None}
        return Response(observed.exposition() + merged(texts), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def workers(request: Request) -> Response:
        return json_response(
            {"port": crew.port, "workers": [_stated(slot, one) for slot, one in await looked_at(crew)]}
        )

    return application(
        [Route("/readyz", readyz), Route("/metrics", exposition), Route("/workers", workers)], ready=lambda: None
    )


async def lead(crew: Crew, *, host: str, port: int) -> int:
    """Runs it and its own address until SIGTERM or SIGINT, renews it at each SIGHUP; the exit status. Raises SettingsError."""
    told, renew = signalled(signal.SIGTERM, signal.SIGINT), signalled(signal.SIGHUP)
    await serve(admin(crew), host=host, port=port, workers={"crew": lambda: crew.run(told, renew)}, stop=crew.over)
    return crew.status


async def looked_at(crew: Crew) -> list[tuple[Slot, Shown | None]]:
    """How each stands; None for who is not there, or says nothing in time."""

    async def look(slot: Slot) -> tuple[Slot, Shown | None]:
        return slot, None if slot.hand is None else await slot.hand.look()

    return await asyncio.gather(*map(look, crew.slots))


def unready(shown: list[tuple[Slot, Shown | None]]) -> Problem | None:
    serving = [(slot, one) for slot, one in shown if slot.hand is not None and slot.hand.serves]
    if not serving:
        return Problem(code=Code.NOT_READY, detail="no worker serves", retry_after_s=1)
    for slot, one in serving:
        if one is None or one.problem is not None:
            said = "says nothing" if one is None else one.problem
            return Problem(code=Code.NOT_READY, detail=f"worker {slot.number}: {said}", retry_after_s=1)
    return None


def _stated(slot: Slot, shown: Shown | None) -> dict[str, object]:
    hand = slot.hand
    return {
        "worker": slot.number,
        "pid": None if hand is None else hand.pid,
        "serving": hand is not None and hand.serves,
        "problem": None if shown is None else shown.problem,
        "restarts": slot.restarts,
    }
