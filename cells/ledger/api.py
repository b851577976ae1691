"""`/ledger/…`: the files of this cell's log for operators of this cell."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from foundation.http import ServiceAuth
from foundation.ledger import serving

OPERATOR = "operator"


def routes(folder: Path | None, operators: ServiceAuth) -> list[Route]:
    """`folder`: that of the log, None where there is none. `operators`: authenticates tokens whose audience is this cell."""

    async def checkpoint(request: Request) -> Response:
        (await operators.caller(request)).require(OPERATOR)
        return await serving.checkpoint(folder)

    async def cosigned(request: Request) -> Response:
        (await operators.caller(request)).require(OPERATOR)
        return await serving.cosigned(folder, request.path_params["quorum"])

    async def tile(request: Request) -> Response:
        (await operators.caller(request)).require(OPERATOR)
        return await serving.tile(folder, request.path_params["path"])

    return [
        Route(serving.CHECKPOINT_PATH, checkpoint, methods=["GET"]),
        Route(serving.COSIGNED_PATH, cosigned, methods=["GET"]),
        Route(serving.TILE_PATH.replace("{path}", "{path:path}"), tile, methods=["GET"]),
    ]
