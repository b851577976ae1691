"""How a request is refused: on record first where it must be, then with a problem document or, for a browser, on its way home."""

from starlette.types import Send

from foundation import logs
from foundation.problems import Code, Problem
from gateway.edge.body import KEPT_BYTES_MAX, Body
from gateway.edge.headers import RequestFields
from gateway.edge.outcome import Gathered, Refused
from gateway.edge.problems import Lines, send_home, send_problem
from gateway.edge.records import Records
from gateway.edge.request import Request
from gateway.edge.unidentified import challenge
from gateway.identity.tokens import Unidentified

log = logs.get(__name__)


class Refusing:
    """One per gateway."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def turn_away(self, request: Request, gathered: Gathered, refused: Refused, body: Body, send: Send) -> None:
        """The answer to a verdict that is a refusal."""
        problem = self.problem_of(request, gathered, refused)
        if problem.code is Code.HOME_ELSEWHERE and request.navigates:
            await send_home(send, f"{problem.extra['home']}".encode("ascii") + request.sent)
            return
        headers: Lines = []
        if problem.status == 401 and isinstance(gathered.who, Unidentified):
            headers.append((b"www-authenticate", challenge(gathered.who).encode("ascii")))
        await refuse(send, problem, body, request.fields, headers)

    def problem_of(self, request: Request, gathered: Gathered, refused: Refused) -> Problem:
        """Records and logs a refusal; the problem to answer with. One that cannot be recorded is answered with 503."""
        problem = refused.problem
        if refused.recorded and not self._records.refusal(request, gathered, refused):
            problem = self._records.recorder.problem() or problem
        log.info(
            "refused",
            code=problem.code.value,
            service=request.target.service,
            verb=request.verb.value,
            subject_id=refused.subject,
            trace_id=request.trace.trace_id,
        )
        return problem


async def refuse(send: Send, problem: Problem, body: Body, fields: RequestFields, headers: Lines | None = None) -> None:
    """Answers with a problem document. A body that was not read, and is not small, ends the connection with it, and so does one that did
    not come in time (RFC 9110 section 15.5.9)."""
    small = fields.content_length is not None and fields.content_length <= KEPT_BYTES_MAX and not fields.expects
    close = not body.read and (not small or problem.code is Code.REQUEST_TIMEOUT)
    await send_problem(send, problem, headers or [], close=close, before_end=body.linger if close else None)
