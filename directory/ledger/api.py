"""`/ledger/…`: the files of a log, readings of it, and erasing by subject, for operators. The directory's, and of each cell its own."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from directory.operations import Operation
from foundation.http import Caller, body_json
from foundation.ledger import serving
from foundation.ledger.keeping import Keeping
from foundation.ledger.serving import Erasure, ErasureRequest, ReadNoted, ReadStated
from foundation.problems import Code

OPERATOR = "operator"


Kept = Callable[[], Keeping | None]
"""The log that this process keeps, None where it keeps none."""


def operations(kept: Kept) -> list[Operation]:
    """Outside of `/v1`: their form is that of https://c2sp.org/tlog-tiles, not this API's."""
    calls = LedgerCalls(kept)
    return [*_files(calls), _reading(calls), *_erasing(calls)]


class LedgerCalls:
    """Handlers over one log."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    async def checkpoint(self, _request: Request, _: Caller) -> Response:
        return await serving.checkpoint(self._kept())

    async def cosigned(self, request: Request, _: Caller) -> Response:
        return await serving.cosigned(self._kept(), request.path_params["quorum"])

    async def tile(self, request: Request, caller: Caller) -> Response:
        accepts = request.headers.get("accept-encoding", "")
        return await serving.tile(self._kept(), request.path_params["path"], caller.actor, accepts)

    async def state_read(self, request: Request, caller: Caller) -> Response:
        return await serving.state_read(self._kept(), await body_json(request, ReadStated), caller.actor)

    async def erase(self, request: Request, caller: Caller) -> Response:
        return await serving.erase(self._kept(), await body_json(request, ErasureRequest), caller.actor)

    async def erasure(self, request: Request, _: Caller) -> Response:
        return await serving.erasure(self._kept(), request.path_params["job"])


def _files(calls: LedgerCalls) -> list[Operation]:
    return [
        Operation(
            method="GET",
            path=serving.CHECKPOINT_PATH,
            name="ledger_checkpoint",
            summary="What the log has signed last, a C2SP checkpoint; 404 where none is kept here",
            roles=(OPERATOR,),
            handler=calls.checkpoint,
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
            handler=calls.cosigned,
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
            handler=calls.tile,
            file=serving.TILE_TYPE,
            deep=True,
            refusals=(Code.NOT_FOUND,),
        ),
    ]


def _reading(calls: LedgerCalls) -> Operation:
    return Operation(
        method="POST",
        path=serving.READS_PATH,
        name="ledger_read_state",
        summary="Records that somebody reads the log in its own folder, as `domicile` does before it shows anything",
        roles=(OPERATOR,),
        handler=calls.state_read,
        body=ReadStated,
        answers={201: ReadNoted},
        refusals=(Code.NOT_FOUND,),
    )


def _erasing(calls: LedgerCalls) -> list[Operation]:
    return [
        Operation(
            method="POST",
            path=serving.ERASURES_PATH,
            name="ledger_erase",
            summary=(
                "Overwrites every payload of the log that speaks of a subject, durably and with a record that does not name them; 202 "
                "while it goes on, which it does by itself, over a restart too"
            ),
            roles=(OPERATOR,),
            handler=calls.erase,
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
            handler=calls.erasure,
            answers={200: Erasure, 202: Erasure},
            refusals=(Code.NOT_FOUND,),
        ),
    ]
