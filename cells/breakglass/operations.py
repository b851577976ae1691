"""The calls of `/access` as values: routes, their OpenAPI document and docs/api.md are made from them."""

from typing import Any, TypeAlias

import msgspec

from cells.breakglass.calls import AccessCalls
from cells.breakglass.replay import Replayed, Report
from cells.breakglass.roles import Audit
from cells.breakglass.shapes import (
    AccessRequest,
    ApprovalRequest,
    AuthorityTold,
    CertificateRequest,
    CertificateTold,
    CheckRequest,
    CheckTold,
    EditRequest,
    ExceptionList,
    ExceptionRequest,
    ExceptionTold,
    GrantList,
    GrantTold,
    LockList,
    LockRequest,
    ReasonRequest,
    ReviewRequest,
    State,
)
from directory.operations import Handler, Operation, Parameter
from foundation.problems import Code

DECLARED = Parameter(
    name="Domicile-Declared",
    place="header",
    schema={"type": "string"},
    description="the country where the caller says to be; not said counts as outside",
)
_NUMBER = {"type": "integer", "minimum": 0}
_FLAG = {"type": "integer", "minimum": 0, "maximum": 1}
_EVERYBODY = ("engineer", "approver", "security", "auditor")
_READERS = ("approver", "security", "auditor")
_DECIDED = (Code.NOT_FOUND, Code.CONFLICT)
_VERSIONED = (*_DECIDED, Code.PRECONDITION_FAILED)
Shape: TypeAlias = type[msgspec.Struct]
_GRANT = "/access/grants/{grant}"


def operations(calls: AccessCalls) -> tuple[Operation, ...]:
    return (*_asking(calls), *_deciding(calls), *_looking(calls), *_keeping(calls))


def _post(path: str, name: str, summary: str, *roles: str, handler: Handler, body: Shape, **more: Any) -> Operation:
    """A call that takes a step: 200 with the grant, unless said otherwise."""
    usual: dict[str, Any] = {"answers": {200: GrantTold}, "parameters": (DECLARED,), "refusals": _DECIDED}
    given: dict[str, Any] = {"method": "POST", "path": path, "name": name, "summary": summary, "roles": roles}
    return Operation(**given, handler=handler, body=body, **(usual | more))


def _get(path: str, name: str, summary: str, *roles: str, handler: Handler, answer: Shape, **more: Any) -> Operation:
    given: dict[str, Any] = {"method": "GET", "path": path, "name": name, "summary": summary, "roles": roles}
    return Operation(**given, handler=handler, answers={200: answer}, **more)


def _asking(calls: AccessCalls) -> tuple[Operation, ...]:
    return (
        _post(
            "/access/grants",
            "requestAccess",
            "Ask for access; with `on_call` an emergency",
            "engineer",
            handler=calls.request,
            body=AccessRequest,
            answers={201: GrantTold},
        ),
        _post(
            f"{_GRANT}/edit",
            "editAccess",
            "Ask for something else; approvals begin anew",
            "engineer",
            handler=calls.edit,
            body=EditRequest,
            refusals=_VERSIONED,
        ),
        _post(
            f"{_GRANT}/close",
            "closeAccess",
            "End one's own request or grant",
            "engineer",
            handler=calls.close,
            body=ReasonRequest,
        ),
        _post(
            f"{_GRANT}/certificate",
            "certifyAccess",
            "A certificate under an approved grant, once its entry stands in a signed checkpoint",
            "engineer",
            handler=calls.certify,
            body=CertificateRequest,
            answers={201: CertificateTold},
        ),
        _post(
            "/access/check",
            "checkCertificate",
            "What a certificate opens now; 403 with a `reason` where it opens nothing. The first time is recorded",
            *_EVERYBODY,
            handler=calls.check,
            body=CheckRequest,
            answers={200: CheckTold},
            parameters=(),
            refusals=(Code.CONFLICT,),
        ),
    )


def _deciding(calls: AccessCalls) -> tuple[Operation, ...]:
    return (
        _post(
            f"{_GRANT}/approve",
            "approveAccess",
            "One approval of the version that was looked at",
            "approver",
            handler=calls.approve,
            body=ApprovalRequest,
            refusals=_VERSIONED,
        ),
        _post(
            f"{_GRANT}/deny",
            "denyAccess",
            "End a request before it was certified",
            "approver",
            handler=calls.deny,
            body=ReasonRequest,
        ),
        _post(
            f"{_GRANT}/revoke",
            "revokeAccess",
            "End a grant; its certificates open nothing from then on",
            *("engineer", "approver", "security"),
            handler=calls.revoke,
            body=ReasonRequest,
        ),
        _post(
            f"{_GRANT}/review",
            "reviewEmergency",
            "Say whether an emergency was justified; due within a day",
            *("approver", "security"),
            handler=calls.review,
            body=ReviewRequest,
        ),
    )


def _looking(calls: AccessCalls) -> tuple[Operation, ...]:
    return (
        _get(
            "/access/grants",
            "listAccess",
            "Requests and grants, newest first; engineers see their own",
            *_EVERYBODY,
            handler=calls.listed,
            answer=GrantList,
            parameters=(
                Parameter(name="phase", schema={"type": "string"}, description="only those that stand there"),
                Parameter(name="limit", schema=_NUMBER, description="at most so many"),
            ),
        ),
        _get(
            _GRANT,
            "showAccess",
            "One request or grant",
            *_EVERYBODY,
            handler=calls.show,
            answer=GrantTold,
            refusals=(Code.NOT_FOUND,),
        ),
        _get(
            "/access/report",
            "reportAccess",
            "Who asked for whose data, why, on whose approval, and saw which columns; byte for byte what a replay of the ledger gives",
            *_READERS,
            handler=calls.report,
            answer=Report,
            refusals=(Code.TOO_LARGE,),
            parameters=(
                Parameter(name="until_us", schema=_NUMBER, description="nothing later; usually now"),
                Parameter(name="since_us", schema=_NUMBER, description="asked for no earlier"),
                Parameter(name="subject", schema={"type": "string"}, description="about this subject"),
                Parameter(name="engineer", schema={"type": "string"}, description="by this engineer"),
                Parameter(
                    name="size", schema=_NUMBER, description="of the door's entries those below; usually all signed for"
                ),
                Parameter(name="steps", schema=_NUMBER, description="so many first steps; usually all up to then"),
                Parameter(name="statements", schema=_FLAG, description="1: with each statement"),
            ),
        ),
        _get(
            "/access/state",
            "accessState",
            "What a replay of the ledger must come to",
            *_READERS,
            handler=calls.state,
            answer=State,
        ),
        _get(
            "/access/replay",
            "replayAccess",
            "What the steps in the cell's own log come to, held against what the cell says",
            *_READERS,
            handler=calls.replayed,
            answer=Replayed,
            refusals=(Code.CONFLICT,),
        ),
        _get(
            "/access/roles",
            "auditRoles",
            "Who may log in to the shards' servers",
            *("security", "auditor"),
            handler=calls.roles,
            answer=Audit,
        ),
        _get(
            "/access/authority",
            "accessAuthority",
            "The certificate of this cell's authority",
            *_EVERYBODY,
            handler=calls.authority,
            answer=AuthorityTold,
        ),
    )


def _keeping(calls: AccessCalls) -> tuple[Operation, ...]:
    locks: dict[str, Any] = {"body": LockRequest, "answers": {200: LockList}, "refusals": (Code.CONFLICT,)}
    return (
        _get(
            "/access/locks",
            "listLocks",
            "Who is locked, here and in other cells, and how old that is",
            *_READERS,
            handler=calls.locks,
            answer=LockList,
        ),
        _post(
            "/access/locks",
            "lockPerson",
            "Refuse a person everything in every cell, and what they hold",
            "security",
            handler=calls.lock,
            **locks,
        ),
        _post(
            "/access/locks/release",
            "unlockPerson",
            "Take a lock back that was made in this cell",
            "security",
            handler=calls.unlock,
            **locks,
        ),
        _get(
            "/access/exceptions",
            "listExceptions",
            "Signed exceptions",
            *_READERS,
            handler=calls.exceptions,
            answer=ExceptionList,
        ),
        _post(
            "/access/exceptions",
            "keepException",
            "Let a signed exception count",
            "security",
            handler=calls.exempt,
            body=ExceptionRequest,
            answers={201: ExceptionTold},
            refusals=(Code.CONFLICT,),
        ),
        _post(
            "/access/exceptions/{exception}/withdraw",
            "withdrawException",
            "Let it count no more",
            "security",
            handler=calls.withdraw,
            body=ReasonRequest,
            answers={200: ExceptionList},
        ),
    )
