"""The calls about placements, declared: who may, what goes in, what comes out."""

from typing import Any

from directory.operations import Operation, Parameter
from directory.paged import PAGED
from directory.placement.answers import (
    WAIT_MS_MAX,
    AckRequest,
    ChangeRequest,
    HistoryPage,
    PlacedAnswer,
    PlacementAnswer,
    PlaceRequest,
    ResolveRequest,
    ServicesRequest,
    SubjectPage,
)
from directory.placement.api import PlacementCalls
from directory.placement.core import Resolved, ResolvedSubjects, State
from directory.placement.transitions import Action
from directory.services import Services
from foundation.problems import Code

_TEXT: dict[str, Any] = {"type": "string"}
_IF_MATCH = Parameter(
    name="If-Match", place="header", schema=_TEXT, description="the epoch held, quoted, instead of `epoch` in the body"
)
_IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    place="header",
    schema={"type": "string", "minLength": 1, "maxLength": 200},
    description="a repeat with the same key and body has one effect; kept for a day, per caller",
)
_WAIT_MS = Parameter(
    name="wait_ms",
    schema={"type": "integer", "minimum": 0, "maximum": WAIT_MS_MAX},
    description="how long to wait for the cell's acknowledgement",
)


_CHANGE_REFUSALS = (Code.NOT_FOUND, Code.SUBJECT_GONE, Code.CONFLICT, Code.PRECONDITION_FAILED)


def operations(services: Services) -> list[Operation]:
    calls = PlacementCalls(services)
    return [*_questions(calls), *_changes(calls)]


def _questions(calls: PlacementCalls) -> list[Operation]:
    """Calls that change nothing."""
    return [
        Operation(
            method="POST",
            path="/v1/resolve",
            name="resolve",
            summary="Where lookup keys or subject ids lead; an answer for keys is a Resolved, for subjects a ResolvedSubjects",
            roles=("resolver", "operator"),
            handler=calls.resolve,
            body=ResolveRequest,
            answers={200: Resolved},
            alternatives=(ResolvedSubjects,),
        ),
        Operation(
            method="GET",
            path="/v1/subjects/{subject_id}",
            name="subject",
            summary="One subject's placement",
            roles=("resolver", "operator"),
            handler=calls.subject,
            answers={200: PlacementAnswer},
            refusals=(Code.NOT_FOUND,),
        ),
        Operation(
            method="GET",
            path="/v1/subjects",
            name="subjects",
            summary="Subjects by cell and state, in the order of their ids",
            roles=("operator", "cell:*"),
            handler=calls.subjects,
            parameters=(
                Parameter(name="cell", schema=_TEXT, description="only this cell's"),
                Parameter(
                    name="state", schema={"type": "string", "enum": list(State)}, description="only in this state"
                ),
                *PAGED,
            ),
            answers={200: SubjectPage},
        ),
        Operation(
            method="GET",
            path="/v1/subjects/{subject_id}/history",
            name="history",
            summary="What was done to a subject, by whom and why",
            roles=("operator",),
            handler=calls.history,
            parameters=PAGED,
            answers={200: HistoryPage},
            refusals=(Code.NOT_FOUND,),
        ),
    ]


def _changes(calls: PlacementCalls) -> list[Operation]:
    """Calls that write a placement, its history and the feed."""
    return [
        Operation(
            method="POST",
            path="/v1/subjects",
            name="place",
            summary="Place a new subject where the rules allow; 202 while its cell has not acknowledged",
            roles=("operator", "signup:*"),
            handler=calls.place,
            body=PlaceRequest,
            parameters=(_IDEMPOTENCY_KEY, _WAIT_MS),
            answers={201: PlacedAnswer, 202: PlacedAnswer},
            refusals=(
                Code.KEY_TAKEN,
                Code.CONFLICT,
                Code.HOME_ELSEWHERE,
                Code.IDEMPOTENCY_MISMATCH,
                Code.NO_CELL_ALLOWED,
            ),
        ),
        Operation(
            method="POST",
            path="/v1/subjects/{subject_id}/ack",
            name="acknowledge",
            summary="The owning cell has raised its fence to this epoch",
            roles=("cell:*",),
            handler=calls.acknowledge,
            body=AckRequest,
            answers={200: PlacementAnswer},
            refusals=(Code.NOT_FOUND, Code.STALE_EPOCH),
        ),
        *(_change(calls, *one) for one in _CHANGES),
        Operation(
            method="POST",
            path="/v1/subjects/{subject_id}/services",
            name="addServices",
            summary="Place anew for further services, under a new epoch, where the rules of today still allow the subject's cell",
            roles=("operator",),
            handler=calls.add_services,
            body=ServicesRequest,
            parameters=(_IF_MATCH,),
            answers={200: PlacementAnswer},
            refusals=(*_CHANGE_REFUSALS, Code.NO_CELL_ALLOWED, Code.RESIDENCY_REFUSED),
        ),
    ]


_CHANGES = (
    (
        "epoch",
        "renewEpoch",
        Action.RENEW,
        "A new epoch, nothing else changed: what was decided under the old one is void",
    ),
    ("freeze", "freeze", Action.FREEZE, "Reads only, under a new epoch"),
    ("unfreeze", "unfreeze", Action.UNFREEZE, "Active again, under a new epoch"),
)


def _change(calls: PlacementCalls, word: str, name: str, action: Action, summary: str) -> Operation:
    return Operation(
        method="POST",
        path=f"/v1/subjects/{{subject_id}}/{word}",
        name=name,
        summary=summary,
        roles=("operator",),
        handler=calls.change(action),
        body=ChangeRequest,
        parameters=(_IF_MATCH,),
        answers={200: PlacementAnswer},
        refusals=_CHANGE_REFUSALS,
    )
