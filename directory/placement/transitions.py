"""What may be done to a placement, as one total function from facts to outcome. Pure."""

import enum
from typing import assert_never

import msgspec

from directory.placement.core import Placement, State
from foundation.problems import Code, Problem
from foundation.words import CellId, Epoch


class Action(enum.StrEnum):
    """A change of one subject. Placing itself is no change: it makes the subject."""

    ACKNOWLEDGE = "acknowledge"
    RENEW = "renew"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    EXPIRE = "expire"
    ADD_SERVICES = "add_services"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for what. `epoch` is the one that the caller holds; `cells` are those a cell service speaks for (acknowledging only)."""

    action: Action
    epoch: Epoch
    cells: frozenset[CellId] = frozenset()


class Step(msgspec.Struct, frozen=True):
    """The change to make. `new_epoch`: under a newer epoch; `frees_keys`: the lookup keys go back."""

    state: State
    new_epoch: bool
    frees_keys: bool = False


class Unchanged(msgspec.Struct, frozen=True):
    """What was asked for holds already."""


Outcome = Step | Unchanged | Problem


def outcome(current: Placement | None, request: Request) -> Outcome:
    """Checks in this order: existence, whose it is, the epoch held, the state. Total."""
    if current is None:
        return Problem(code=Code.NOT_FOUND, detail="no subject has this id")
    if request.action is Action.ACKNOWLEDGE:
        return _acknowledged(current, request)
    if request.epoch != current.epoch:
        return Problem(
            code=Code.PRECONDITION_FAILED,
            detail="the subject is under another epoch by now; read it again and decide anew",
            extra={"epoch": current.epoch},
        )
    return _stepped(current.state, request.action)


def _acknowledged(current: Placement, request: Request) -> Outcome:
    if current.cell not in request.cells:
        return Problem(code=Code.FORBIDDEN, detail=f"the subject's cell is {current.cell}, and only it acknowledges")
    if request.epoch != current.epoch:
        return Problem(
            code=Code.STALE_EPOCH,
            detail="only the epoch that holds now is acknowledged",
            extra={"epoch": current.epoch},
        )
    return Step(State.ACTIVE, new_epoch=False) if current.state is State.RESERVED else Unchanged()


def _stepped(state: State, action: Action) -> Outcome:
    match action:
        case Action.RENEW | Action.ADD_SERVICES if state in (State.ACTIVE, State.FROZEN):
            return Step(state, new_epoch=True)
        case Action.FREEZE if state is State.ACTIVE:
            return Step(State.FROZEN, new_epoch=True)
        case Action.UNFREEZE if state is State.FROZEN:
            return Step(State.ACTIVE, new_epoch=True)
        case Action.EXPIRE if state is State.RESERVED:
            return Step(State.ERASED, new_epoch=True, frees_keys=True)
        case Action.ACKNOWLEDGE | Action.RENEW | Action.FREEZE | Action.UNFREEZE | Action.EXPIRE | Action.ADD_SERVICES:
            return _not_in(state, action)
        case _:
            assert_never(action)


def _not_in(state: State, action: Action) -> Problem:
    if state in (State.MOVED, State.ERASED):
        return Problem(code=Code.SUBJECT_GONE, detail=f"the subject is {state.value}", extra={"state": state.value})
    return Problem(
        code=Code.CONFLICT,
        detail=f"{action.value} is not possible while the subject is {state.value}",
        extra={"state": state.value},
    )
