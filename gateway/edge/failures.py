"""What a client is told where an exchange with a service failed, or was not begun."""

import math

from foundation import logs
from foundation.problems import Code, Problem
from gateway.edge.outcome import RETRY_AFTER_S, Admitted
from gateway.edge.relay import STALLED, TOO_LARGE
from gateway.edge.request import Request
from gateway.edge.upstream.fault import Fault, UpstreamFailed

log = logs.get(__name__)

_TURNED_AWAY = frozenset({Fault.BUSY, Fault.OPEN})
"""Nothing was sent. Counted, and not logged one by one: whoever is overloaded would be made to write about it."""


def problem_of(failed: UpstreamFailed, admitted: Admitted, request: Request) -> Problem:
    if failed.fault not in _TURNED_AWAY:
        log.warning(
            "exchange_failed",
            reason=failed.fault.value,
            cell=admitted.cell,
            service=admitted.service,
            trace_id=request.trace.trace_id,
        )
    match failed.fault:
        case Fault.TIMEOUT:
            return Problem(code=Code.UPSTREAM_TIMEOUT, detail=f"service {admitted.service}")
        case Fault.CLIENT_STALLED:
            return STALLED
        case Fault.TOO_LARGE:
            return TOO_LARGE
        case Fault.BUSY:
            return busy(admitted)
        case Fault.CONNECT | Fault.OPEN:
            return unreachable(admitted, failed.wait_s)
        case Fault.RESET | Fault.PROTOCOL | Fault.CLIENT_GONE | Fault.OUTDATED:
            return Problem(code=Code.UPSTREAM_BROKEN, detail=f"service {admitted.service}")


def busy(admitted: Admitted) -> Problem:
    return Problem(code=Code.CELL_BUSY, detail=f"service {admitted.service}", retry_after_s=RETRY_AFTER_S)


def unreachable(admitted: Admitted, wait_s: float) -> Problem:
    """`wait_s`: for so long asking again is refused here."""
    retry_after_s = max(RETRY_AFTER_S, math.ceil(wait_s))
    return Problem(code=Code.CELL_UNREACHABLE, detail=f"service {admitted.service}", retry_after_s=retry_after_s)


def behind(refusal: Code) -> Problem:
    detail = f"the cell answered {refusal.value}; try again"
    return Problem(code=Code.CELL_BEHIND, detail=detail, retry_after_s=RETRY_AFTER_S)
