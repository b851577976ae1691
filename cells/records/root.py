"""`GET /records/`: the OpenAPI document of the caller's own tables, as PostgREST serves one at its root."""

import importlib.metadata
from collections.abc import Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cells.records import errors
from cells.records.admission import Admitted, admitted
from cells.records.contracts import Contract
from cells.records.core import Bound, bind, grant
from cells.records.describe import Offered, document
from cells.records.limits import Limiter
from cells.service.context import Context
from foundation.problems import ProblemError

MEDIA = "application/openapi+json"
DOCUMENTS_MAX = 64
"""Documents kept: one for each kind of caller, purpose and actor; beyond, the oldest is made anew."""


class Root:
    """The handler over one cell's context and contracts."""

    def __init__(self, context: Context, contracts: Mapping[str, Contract], rows_max: int, limiter: Limiter) -> None:
        self._context = context
        self._contracts = contracts
        self._rows_max = rows_max
        self._limiter = limiter
        self._version = importlib.metadata.version("domicile")
        self._documents: dict[tuple[str, str, tuple[bool | None, ...]], bytes] = {}

    async def handle(self, request: Request) -> Response:
        try:
            who = await admitted(self._context, request, self._limiter)
        except ProblemError as exc:
            return errors.response(exc.problem)
        return Response(self._document(who), media_type=MEDIA, headers={"cache-control": "no-store"})

    def _document(self, who: Admitted) -> bytes:
        """Depends on the grant alone: whose decision for which purpose, and in which tables its actor has and makes rows."""
        bound = {table: bind(contract, who.decision) for table, contract in self._contracts.items()}
        makes = {table: one.owner is not None for table, one in bound.items() if isinstance(one, Bound)}
        key = (who.service, who.decision.purpose, tuple(makes.get(table) for table in self._contracts))
        held = self._documents.get(key)
        if held is not None:
            return held
        offered = [
            Offered(
                contract=contract,
                granted=grant(contract, who.service, who.decision.purpose),
                makes=makes[table],
            )
            for table, contract in self._contracts.items()
            if table in makes
        ]
        made = msgspec.json.encode(document(offered, rows_max=self._rows_max, version=self._version))
        if len(self._documents) >= DOCUMENTS_MAX:
            del self._documents[next(iter(self._documents))]
        self._documents[key] = made
        return made
