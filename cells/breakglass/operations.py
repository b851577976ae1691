"""The calls of `/access` as values: routes, their OpenAPI document and docs/api.md are made from them."""

from cells.breakglass.calls import AccessCalls
from cells.breakglass.replay import Report
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
from directory.operations import Operation, Parameter
from foundation.problems import Code

DECLARED = Parameter(
    name="Domicile-Declared",
    place="header",
    schema={"type": "string"},
    description="the country where the caller says to be; not said counts as outside",
)
_NUMBER = {"type": "integer", "minimum": 0}
_EVERYBODY = ("engineer", "approver", "security", "auditor")
_DECIDED = (Code.NOT_FOUND, Code.CONFLICT)
_GRANT = "/access/grants/{grant}"


def operations(calls: AccessCalls) -> tuple[Operation, ...]:
    return (*_asking(calls), *_deciding(calls), *_looking(calls), *_keeping(calls))


def _asking(calls: AccessCalls) -> tuple[Operation, ...]:
    return (
        Operation(
            method="POST",
            path="/access/grants",
            name="requestAccess",
            summary="Ask for access; with `on_call` an emergency",
            roles=("engineer",),
            handler=calls.request,
            answers={201: GrantTold},
            body=AccessRequest,
            parameters=(DECLARED,),
            refusals=_DECIDED,
        ),
        Operation(
            method="POST",
            path=f"{_GRANT}/edit",
            name="editAccess",
            summary="Ask for something else; approvals begin anew",
            roles=("engineer",),
            handler=calls.edit,
            answers={200: GrantTold},
            body=EditRequest,
            parameters=(DECLARED,),
            refusals=(*_DECIDED, Code.PRECONDITION_FAILED),
        ),
        Operation(
            method="POST",
            path=f"{_GRANT}/close",
            name="closeAccess",
            summary="End one's own request or grant",
            roles=("engineer",),
            handler=calls.close,
            answers={200: GrantTold},
            body=ReasonRequest,
            parameters=(DECLARED,),
            refusals=_DECIDED,
        ),
        Operation(
            method="POST",
            path=f"{_GRANT}/certificate",
            name="certifyAccess",
            summary="A certificate under an approved grant, once its entry stands in a signed checkpoint",
            roles=("engineer",),
            handler=calls.certify,
            answers={201: CertificateTold},
            body=CertificateRequest,
            parameters=(DECLARED,),
            refusals=_DECIDED,
        ),
        Operation(
            method="POST",
            path="/access/check",
            name="checkCertificate",
            summary="What a certificate opens now; 403 with a `reason` where it opens nothing. The first time is recorded",
            roles=_EVERYBODY,
            handler=calls.check,
            answers={200: CheckTold},
            body=CheckRequest,
            refusals=(Code.CONFLICT,),
        ),
    )


def _deciding(calls: AccessCalls) -> tuple[Operation, ...]:
    return (
        Operation(
            method="POST",
            path=f"{_GRANT}/approve",
            name="approveAccess",
            summary="One approval of the version that was looked at",
            roles=("approver",),
            handler=calls.approve,
            answers={200: GrantTold},
            body=ApprovalRequest,
            parameters=(DECLARED,),
            refusals=(*_DECIDED, Code.PRECONDITION_FAILED),
        ),
        Operation(
            method="POST",
            path=f"{_GRANT}/deny",
            name="denyAccess",
            summary="End a request before it was certified",
            roles=("approver",),
            handler=calls.deny,
            answers={200: GrantTold},
            body=ReasonRequest,
            parameters=(DECLARED,),
            refusals=_DECIDED,
        ),
        Operation(
            method="POST",
            path=f"{_GRANT}/revoke",
            name="revokeAccess",
            summary="End a grant; its certificates open nothing from then on",
            roles=("engineer", "approver", "security"),
            handler=calls.revoke,
            answers={200: GrantTold},
            body=ReasonRequest,
            parameters=(DECLARED,),
            refusals=_DECIDED,
        ),
        Operation(
            method="POST",
            path=f"{_GRANT}/review",
            name="reviewEmergency",
            summary="Say whether an emergency was justified; due within a day",
            roles=("approver", "security"),
            handler=calls.review,
            answers={200: GrantTold},
            body=ReviewRequest,
            parameters=(DECLARED,),
            refusals=_DECIDED,
        ),
    )


def _looking(calls: AccessCalls) -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path="/access/grants",
            name="listAccess",
            summary="Requests and grants, newest first; engineers see their own",
            roles=_EVERYBODY,
            handler=calls.listed,
            answers={200: GrantList},
            parameters=(
                Parameter(name="phase", schema={"type": "string"}, description="only those that stand there"),
                Parameter(name="limit", schema=_NUMBER, description="at most so many"),
            ),
        ),
        Operation(
            method="GET",
            path=_GRANT,
            name="showAccess",
            summary="One request or grant",
            roles=_EVERYBODY,
            handler=calls.show,
            answers={200: GrantTold},
            refusals=(Code.NOT_FOUND,),
        ),
        Operation(
            method="GET",
            path="/access/report",
            name="reportAccess",
            summary="Who asked for whose data, why, on whose approval; byte for byte what a replay of the ledger gives",
            roles=("approver", "security", "auditor"),
            handler=calls.report,
            answers={200: Report},
            parameters=(
                Parameter(name="until_us", schema=_NUMBER, description="nothing later; usually now"),
                Parameter(name="since_us", schema=_NUMBER, description="asked for no earlier"),
                Parameter(name="subject", schema={"type": "string"}, description="about this subject"),
                Parameter(name="engineer", schema={"type": "string"}, description="by this engineer"),
            ),
        ),
        Operation(
            method="GET",
            path="/access/state",
            name="accessState",
            summary="What a replay of the ledger must come to",
            roles=("approver", "security", "auditor"),
            handler=calls.state,
            answers={200: State},
        ),
        Operation(
            method="GET",
            path="/access/roles",
            name="auditRoles",
            summary="Who may log in to the shards' servers",
            roles=("security", "auditor"),
            handler=calls.roles,
            answers={200: Audit},
        ),
        Operation(
            method="GET",
            path="/access/authority",
            name="accessAuthority",
            summary="The certificate of this cell's authority",
            roles=_EVERYBODY,
            handler=calls.authority,
            answers={200: AuthorityTold},
        ),
    )


def _keeping(calls: AccessCalls) -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path="/access/locks",
            name="listLocks",
            summary="Who is locked",
            roles=("approver", "security", "auditor"),
            handler=calls.locks,
            answers={200: LockList},
        ),
        Operation(
            method="POST",
            path="/access/locks",
            name="lockPerson",
            summary="Refuse a person everything, and what they hold",
            roles=("security",),
            handler=calls.lock,
            answers={200: LockList},
            body=LockRequest,
            parameters=(DECLARED,),
            refusals=(Code.CONFLICT,),
        ),
        Operation(
            method="POST",
            path="/access/locks/release",
            name="unlockPerson",
            summary="Take a lock back",
            roles=("security",),
            handler=calls.unlock,
            answers={200: LockList},
            body=LockRequest,
            parameters=(DECLARED,),
            refusals=(Code.CONFLICT,),
        ),
        Operation(
            method="GET",
            path="/access/exceptions",
            name="listExceptions",
            summary="Signed exceptions",
            roles=("approver", "security", "auditor"),
            handler=calls.exceptions,
            answers={200: ExceptionList},
        ),
        Operation(
            method="POST",
            path="/access/exceptions",
            name="keepException",
            summary="Let a signed exception count",
            roles=("security",),
            handler=calls.exempt,
            answers={201: ExceptionTold},
            body=ExceptionRequest,
            parameters=(DECLARED,),
            refusals=(Code.CONFLICT,),
        ),
        Operation(
            method="POST",
            path="/access/exceptions/{exception}/withdraw",
            name="withdrawException",
            summary="Let it count no more",
            roles=("security",),
            handler=calls.withdraw,
            answers={200: ExceptionList},
            body=ReasonRequest,
            parameters=(DECLARED,),
            refusals=_DECIDED,
        ),
    )
