"""Who may touch which columns and rows of a table, from its contract and the decision. Pure."""

from typing import assert_never

import msgspec

from cells.records.contracts import Columns, Contract
from foundation.decision import Decision
from foundation.problems import Code, Problem
from foundation.words import RECORDS, ActorId, Epoch, MalformedWord, ServiceId, SubjectId, parse_subject_id


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Columns a caller may see, change, and filter or order by. `everything`: may write whole rows, so may delete them."""

    read: tuple[str, ...]
    write: frozenset[str]
    filter: frozenset[str]
    everything: bool


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """What every statement is bound to: the subject under its epoch and, where the contract says so, the owner of the rows.

    `owner` is what a new row's owner is set to (None: this caller cannot make rows); `owner_only` whether others' rows are hidden.
    """

    subject: SubjectId
    epoch: Epoch
    owner: SubjectId | None
    owner_only: bool


def grant(contract: Contract, audience: ServiceId, purpose: str) -> Grant:
    """What the contract gives a person through the gateway (audience `records`) or a product service, for a purpose."""
    stated = contract.access.person if audience == RECORDS else contract.access.services.get(audience, Columns())
    usable = [name for name in contract.classified if _serves(contract.columns[name].purposes, purpose)]
    read = tuple(name for name in usable if stated.read == "*" or name in stated.read)
    bound = {contract.placed_by, contract.owner}
    write = frozenset(name for name in usable if name not in bound and (stated.write == "*" or name in stated.write))
    return Grant(
        read=read,
        write=write,
        filter=frozenset(name for name in read if not contract.columns[name].sealed),
        everything=stated.write == "*",
    )


def bind(contract: Contract, decision: Decision) -> Bound | Problem:
    """What the statement is bound to, or why this actor has no rows here."""
    if decision.subject is None or decision.epoch is None or decision.actor is None:
        return Problem(code=Code.FORBIDDEN, detail="a decision about a subject is needed")
    person = _person(decision.actor)
    if person is None and decision.service == RECORDS:
        return Problem(code=Code.FORBIDDEN, detail="only persons come here without a service's credential")
    if contract.owner == contract.placed_by:
        return _bind_to_subject(contract, decision.subject, decision.epoch, person)
    match contract.rows:
        case "all_of_subject":
            return Bound(subject=decision.subject, epoch=decision.epoch, owner=person, owner_only=False)
        case "owner":
            if person is None:
                return Problem(
                    code=Code.FORBIDDEN, detail="rows here belong to persons; the decision's actor is a service"
                )
            return Bound(subject=decision.subject, epoch=decision.epoch, owner=person, owner_only=True)
        case _:
            assert_never(contract.rows)


def _bind_to_subject(contract: Contract, subject: SubjectId, epoch: Epoch, person: SubjectId | None) -> Bound | Problem:
    """Where the subject is the owner, another person has no rows here, unless the contract shows all of the subject's."""
    if person is not None and person != subject and contract.rows == "owner":
        return Problem(
            code=Code.FORBIDDEN, detail="rows here belong to the subject; the decision's actor is another person"
        )
    owner = subject if person is None or person == subject else None
    return Bound(subject=subject, epoch=epoch, owner=owner, owner_only=False)


def _person(actor: ActorId) -> SubjectId | None:
    try:
        return parse_subject_id(actor)
    except MalformedWord:
        return None


def _serves(purposes: tuple[str, ...] | None, purpose: str) -> bool:
    return purposes is None or purpose in purposes
