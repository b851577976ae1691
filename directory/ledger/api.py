"""`/ledger/…`: the files of the directory's log for operators."""

from starlette.requests import Request
from starlette.responses import Response

from directory.operations import Operation
from directory.services import Services
from foundation.http import Caller
from foundation.ledger import serving
from foundation.problems import Code

OPERATOR = "operator"


def operations(services: Services) -> list[Operation]:
    """Outside of `/v1`: their form is that of https://c2sp.org/tlog-tiles, not this API's."""

    async def checkpoint(request: Request, caller: Caller) -> Response:
        return await serving.checkpoint(services.ledger)

    async def cosigned(request: Request, caller: Caller) -> Response:
        return await serving.cosigned(services.ledger, request.path_params["quorum"])

    async def tile(request: Request, caller: Caller) -> Response:
        return await serving.tile(services.ledger, request.path_params["path"])

    return [
        Operation(
            method="GET",
            path=serving.CHECKPOINT_PATH,
            name="ledger_checkpoint",
            summary="What the log has signed last, a C2SP checkpoint; 404 where the directory keeps no log",
            roles=(OPERATOR,),
            handler=checkpoint,
            file="text/plain",
            refusals=(Code.NOT_FOUND,),
        ),
        Operation(
            method="GET",
            path=serving.COSIGNED_PATH,
            name="ledger_cosigned",
            summary=(
                "The newest checkpoint that a quorum of witnesses has cosigned, `near` or `wide`, with the cosignatures (C2SP "
                "tlog-cosignature); 404 where there is none"
            ),
            roles=(OPERATOR,),
            handler=cosigned,
            file="text/plain",
            refusals=(Code.NOT_FOUND,),
        ),
        Operation(
            method="GET",
            path=serving.TILE_PATH,
            name="ledger_tile",
            summary="A file of the log, by what C2SP tlog-tiles has after `tile/`, such as `0/000` or `entries/x001/234.p/56`",
            roles=(OPERATOR,),
            handler=tile,
            file=serving.TILE_TYPE,
            deep=True,
            refusals=(Code.NOT_FOUND,),
        ),
    ]
