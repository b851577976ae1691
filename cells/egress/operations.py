"""The calls of `/cell/egress` as values: routes and their OpenAPI document are made from them."""

import msgspec

from cells.egress.asking import EgressAnswer
from cells.egress.calls import ARROW, PAGE_MAX, PAGE_USUAL, WORD_CHARS_MAX, EgressCalls, EgressRequest, PlanTold
from cells.egress.telling import RunList, RunTold
from directory.operations import Operation, Parameter
from foundation.problems import Code
from routing_rules.release import Consent

NDJSON = "application/x-ndjson"
SERVICE, OPERATOR = "service:*", "operator"
_WORD = {"type": "string", "minLength": 1, "maxLength": WORD_CHARS_MAX}


_AIM = tuple(
    Parameter(name=name, schema=_WORD, description=description, required=True)
    for name, description in (
        ("contract", "the table or event, by its contract"),
        ("to", "an entry of policy's destinations"),
        ("purpose", "one of the destination's purposes"),
    )
)
_AIM_OF_ARROW = tuple(
    msgspec.structs.replace(one, required=False, description=f"{one.description}; with a body of Arrow, which has none")
    for one in _AIM
)


def of_services(calls: EgressCalls) -> tuple[Operation, ...]:
    """For product services of this cell that the contract lets read."""
    return (
        Operation(
            method="POST",
            path="/cell/egress/events",
            name="treatEvents",
            summary="Give events for a destination and purpose; the answer has those that may leave, treated, once the batch is recorded. "
            "Record batches of Arrow are answered by such, their aim in the query; the schema's metadata `domicile` has `EgressSaid`",
            roles=(SERVICE,),
            handler=calls.events,
            body=EgressRequest,
            takes=ARROW,
            answers={200: EgressAnswer},
            file=ARROW,
            parameters=_AIM_OF_ARROW,
            refusals=(Code.RESIDENCY_REFUSED, Code.TOO_LARGE),
        ),
        Operation(
            method="POST",
            path="/cell/egress/stream",
            name="treatStream",
            summary="The same of lines of NDJSON, however many; the answer, lines of `EgressLine`, has to be read meanwhile",
            roles=(SERVICE,),
            handler=calls.stream,
            takes=NDJSON,
            file=NDJSON,
            parameters=_AIM,
            refusals=(Code.RESIDENCY_REFUSED, Code.TOO_LARGE, Code.CELL_BUSY),
        ),
    )


def of_operators(calls: EgressCalls) -> tuple[Operation, ...]:
    """For operators with a token for this cell alone. Releases are begun by `domicile egress run`, in the cell."""
    return (
        Operation(
            method="GET",
            path="/cell/egress/plan",
            name="planRelease",
            summary="Say what each field of a contract would become for a destination, a purpose and somebody of that residence",
            roles=(OPERATOR,),
            handler=calls.plan,
            answers={200: PlanTold},
            parameters=(
                *_AIM,
                Parameter(
                    name="residence",
                    schema={"type": "string", "pattern": "^[A-Z]{2}$"},
                    description="ISO 3166-1",
                    required=True,
                ),
                Parameter(
                    name="consent",
                    schema={"type": "string", "enum": [one.value for one in Consent]},
                    description="what they said to the purpose; usually unsaid",
                ),
            ),
            refusals=(Code.NOT_FOUND, Code.RESIDENCY_REFUSED),
        ),
        Operation(
            method="GET",
            path="/cell/egress/runs",
            name="listRuns",
            summary="Runs of releases, newest first",
            roles=(OPERATOR,),
            handler=calls.runs,
            answers={200: RunList},
            parameters=(
                Parameter(
                    name="limit",
                    schema={"type": "integer", "minimum": 1, "maximum": PAGE_MAX},
                    description=f"at most so many; usually {PAGE_USUAL}",
                ),
            ),
        ),
        Operation(
            method="GET",
            path="/cell/egress/runs/{run}",
            name="showRun",
            summary="A run with its owner's report: what stayed and why, field by field, and what is in quarantine",
            roles=(OPERATOR,),
            handler=calls.run,
            answers={200: RunTold},
            refusals=(Code.NOT_FOUND,),
        ),
    )
