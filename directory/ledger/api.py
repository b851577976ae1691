"""`/ledger/…`: the files of the directory's log, readings of it, and erasing by subject, for operators."""

from starlette.requests import Request
from starlette.responses import Response

from directory.operations import Operation
from directory.services import Services
from foundation.http import Caller, body_json
from foundation.ledger import serving
from foundation.ledger.serving import Erasure, ErasureRequest, ReadNoted, ReadStated
from foundation.problems import Code

OPERATOR = "operator"


def operations(services: Services) -> list[Operation]:
    """Outside of `/v1`: their form is that of https://c2sp.org/tlog-tiles, not this API's."""

    async def checkpoint(request: Request, caller: Caller) -> Response:
        return await serving.checkpoint(services.ledger)

    async def cosigned(request: Request, caller: Caller) -> Response:
        return await serving.cosigned(services.ledger, request.path_params["quorum"])

    async def tile(request: Request, caller: Caller) -> Response:
        return await serving.tile(services.ledger, request.path_params["path"], caller.actor)

    async def state_read(request: Request, caller: Caller) -> Response:
        return await serving.state_read(services.ledger, await body_json(request, ReadStated), caller.actor)

    async def erase(request: Request, caller: Caller) -> Response:
        return await serving.erase(services.ledger, await body_json(request, ErasureRequest), caller.actor)

    async def erasure(request: Request, caller: Caller) -> Response:
        return await serving.erasure(services.ledger, request.path_params["job"])

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
            summary=(
                "A file of the log, by what C2SP tlog-tiles has after `tile/`, such as `0/000` or `entries/x001/234.p/56`; who reads "
                "entries is recorded"
            ),
            roles=(OPERATOR,),
            handler=tile,
            file=serving.TILE_TYPE,
            deep=True,
            refusals=(Code.NOT_FOUND,),
        ),
        Operation(
            method="POST",
            path=serving.READS_PATH,
            name="ledger_read_state",
            summary="Records that somebody reads the log in its own folder, as `domicile` does before it shows anything",
            roles=(OPERATOR,),
            handler=state_read,
            body=ReadStated,
            answers={201: ReadNoted},
            refusals=(Code.NOT_FOUND,),
        ),
        Operation(
            method="POST",
            path=serving.ERASURES_PATH,
            name="ledger_erase",
            summary=(
                "Overwrites every payload of the log that speaks of a subject, durably and with a record that does not name them; 202 "
                "while it goes on, which it does by itself, over a restart too"
            ),
            roles=(OPERATOR,),
            handler=erase,
            body=ErasureRequest,
            answers={200: Erasure, 202: Erasure},
            refusals=(Code.NOT_FOUND,),
        ),
        Operation(
            method="GET",
            path=serving.ERASURE_PATH,
            name="ledger_erasure",
            summary="How far an erasure came: 200 when it is done, 202 while it is not",
            roles=(OPERATOR,),
            handler=erasure,
            answers={200: Erasure, 202: Erasure},
            refusals=(Code.NOT_FOUND,),
        ),
    ]
