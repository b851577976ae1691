"""What may be done to a claim, and which lookup keys are one identifier, as total functions. Pure.

claimed → confirmed (its keys lead to the subject) or released (given back). A lease that runs out leaves the claim unresolved: the cell may
have kept the person's data without being able to say so, so its keys are nobody's and nobody else's until that cell confirms or
releases.
"""

import enum
from collections.abc import Sequence
from typing import assert_never

import msgspec

from directory.placement.answers import ClaimedKey
from foundation.problems import Code, Problem
from foundation.words import CellId, LookupKey, SubjectId


class ClaimState(enum.StrEnum):
    """`released` is final."""

    CLAIMED = "claimed"
    UNRESOLVED = "unresolved"
    CONFIRMED = "confirmed"
    RELEASED = "released"


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A claim as it stands. `claim_id` is the claiming cell's own; `expires_at` is unix seconds of the database's clock, of a lease that
    runs. `subject_id` None: of somebody who is not placed yet."""

    claim_id: str
    cell: CellId
    subject_id: SubjectId | None
    kinds: tuple[str, ...]
    state: ClaimState
    expires_at: float | None = None


class Action(enum.StrEnum):
    CONFIRM = "confirm"
    RELEASE = "release"
    EXPIRE = "expire"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for what. `cells`: those that the caller speaks for. `anyones`: an operator's word, who may release what is open."""

    action: Action
    cells: frozenset[CellId] = frozenset()
    anyones: bool = False
    subject_id: SubjectId | None = None


class Step(msgspec.Struct, frozen=True):
    """The change to make. `subject_id`: whom the claim is of from then on."""

    state: ClaimState
    subject_id: SubjectId | None


class Unchanged(msgspec.Struct, frozen=True):
    """What was asked for holds already."""


def outcome(claim: Claim | None, request: Request) -> Step | Unchanged | Problem:
    """Checks in this order: existence, whose it is, the state. Total."""
    if claim is None:
        return Problem(code=Code.NOT_FOUND, detail="no claim has this id")
    match request.action:
        case Action.EXPIRE:
            claimed = claim.state is ClaimState.CLAIMED
            return Step(ClaimState.UNRESOLVED, claim.subject_id) if claimed else Unchanged()
        case Action.CONFIRM:
            return _not_theirs(claim, request, anyones=False) or _confirmed(claim, request)
        case Action.RELEASE:
            return _not_theirs(claim, request, anyones=request.anyones) or _released(claim, request)
        case _:
            assert_never(request.action)


def _not_theirs(claim: Claim, request: Request, *, anyones: bool) -> Problem | None:
    if anyones or claim.cell in request.cells:
        return None
    return Problem(code=Code.FORBIDDEN, detail=f"the claim is cell {claim.cell}'s, and only it says what became of it")


def _confirmed(claim: Claim, request: Request) -> Step | Unchanged | Problem:
    subject_id = claim.subject_id or request.subject_id
    if subject_id is None:
        return Problem(code=Code.BAD_REQUEST, detail="the claim was made for nobody yet: say the subject that it is of")
    if request.subject_id not in (None, subject_id):
        return Problem(code=Code.CONFLICT, detail="the claim is of another subject", extra={"state": claim.state.value})
    match claim.state:
        case ClaimState.CLAIMED | ClaimState.UNRESOLVED:
            return Step(ClaimState.CONFIRMED, subject_id)
        case ClaimState.CONFIRMED:
            return Unchanged()
        case ClaimState.RELEASED:
            return Problem(
                code=Code.CONFLICT,
                detail="the claim was released; claim anew, under a new id",
                extra={"state": claim.state.value},
            )
        case _:
            assert_never(claim.state)


def _released(claim: Claim, request: Request) -> Step | Unchanged | Problem:
    """A confirmed alias stands on its cell's shard too, so that cell alone gives it back, whoever else may release what is open."""
    match claim.state:
        case ClaimState.RELEASED:
            return Unchanged()
        case ClaimState.CONFIRMED if claim.cell not in request.cells:
            return Problem(
                code=Code.CONFLICT,
                detail=f"the claim is confirmed and the alias its subject's; only cell {claim.cell} gives it back",
                extra={"state": claim.state.value},
            )
        case ClaimState.CLAIMED | ClaimState.UNRESOLVED | ClaimState.CONFIRMED:
            return Step(ClaimState.RELEASED, claim.subject_id)
        case _:
            assert_never(claim.state)


def first_twins(keys: Sequence[ClaimedKey]) -> tuple[LookupKey | None, ...]:
    """For each key the first one of the same identifier, None where it is that itself.

    A caller states the keys of each blinding key in the same order, so the n-th of a kind under one is the n-th of that kind under every
    other. Keys whose blinding key is not said stand alone. Pure.
    """
    if len({one.kid for one in keys}) < 2:
        return (None,) * len(keys)
    counted: dict[tuple[str, str], int] = {}
    firsts: dict[tuple[str, int], LookupKey] = {}
    twins: list[LookupKey | None] = []
    for one in keys:
        if one.kid is None:
            twins.append(None)
            continue
        nth = counted[one.kind, one.kid] = counted.get((one.kind, one.kid), 0) + 1
        first = firsts.setdefault((one.kind, nth), LookupKey(one.key))
        twins.append(None if first == one.key else first)
    return tuple(twins)
