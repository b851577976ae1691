"""`/ledger/…`: the files of this cell's log, readings of it, and erasing by subject, for operators of this cell."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from foundation.http import ServiceAuth, body_json
from foundation.ledger import serving
from foundation.ledger.keeping import Keeping
from foundation.ledger.serving import ErasureRequest, ReadStated
from foundation.problems import Code, refuse
from foundation.words import MalformedWord

OPERATOR = "operator"


def routes(kept: Keeping | None, operators: ServiceAuth) -> list[Route]:
    """`kept`: the log, None where there is none. `operators`: authenticates tokens whose audience is this cell."""

    async def operator(request: Request) -> str:
        caller = await operators.caller(request)
        caller.require(OPERATOR)
        return caller.actor

    async def checkpoint(request: Request) -> Response:
        await operator(request)
        return await serving.checkpoint(kept)

    async def cosigned(request: Request) -> Response:
        await operator(request)
        return await serving.cosigned(kept, request.path_params["quorum"])

    async def tile(request: Request) -> Response:
        return await serving.tile(kept, request.path_params["path"], await operator(request))

    async def state_read(request: Request) -> Response:
        actor = await operator(request)
        return await serving.state_read(kept, await body_json(request, ReadStated), actor)

    async def erase(request: Request) -> Response:
        actor = await operator(request)
        try:
            return await serving.erase(kept, await body_json(request, ErasureRequest), actor)
        except MalformedWord as exc:
            raise refuse(Code.BAD_REQUEST, str(exc)) from exc

    async def erasure(request: Request) -> Response:
        await operator(request)
        return await serving.erasure(kept, request.path_params["job"])

    return [
        Route(serving.CHECKPOINT_PATH, checkpoint, methods=["GET"]),
        Route(serving.COSIGNED_PATH, cosigned, methods=["GET"]),
        Route(serving.TILE_PATH.replace("{path}", "{path:path}"), tile, methods=["GET"]),
        Route(serving.READS_PATH, state_read, methods=["POST"]),
        Route(serving.ERASURES_PATH, erase, methods=["POST"]),
        Route(serving.ERASURE_PATH, erasure, methods=["GET"]),
    ]
