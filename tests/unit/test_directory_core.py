"""The directory's pure parts: transitions, preconditions, cursors, roles, hints, the feed's wire form."""

import asyncio

import msgspec
import pytest

from directory import paging
from directory.feed.commits import Commits
from directory.feed.worker import parse
from directory.operations import scoped
from directory.placement.core import Facts, Placement, State
from directory.placement.preconditions import epoch_held, etag
from directory.placement.transitions import Action, Request, Step, Unchanged, outcome
from foundation.http import Caller
from foundation.problems import Code, Problem, ProblemError
from foundation.words import (
    CellId,
    Country,
    Epoch,
    FeedSeq,
    JurisdictionId,
    MalformedWord,
    ServiceId,
    ShardId,
    SubjectId,
)

HOME = CellId("eu-de")
ADA = SubjectId("0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77")


def placement(state: State) -> Placement:
    return Placement(
        subject_id=ADA,
        cell=HOME,
        shard=ShardId("s1"),
        epoch=Epoch(7),
        state=state,
        services=(ServiceId("orders"),),
        facts=Facts(facts_id=1, regimes=(JurisdictionId("eu"),), residence=Country("DE")),
    )


def ask(action: Action, epoch: int = 7, cell: str = HOME) -> Request:
    return Request(action=action, epoch=Epoch(epoch), cells=frozenset({CellId(cell)}))


ALLOWED = {
    (State.RESERVED, Action.ACKNOWLEDGE): Step(State.ACTIVE, new_epoch=False),
    (State.RESERVED, Action.EXPIRE): Step(State.ERASED, new_epoch=True, frees_keys=True),
    (State.ACTIVE, Action.RENEW): Step(State.ACTIVE, new_epoch=True),
    (State.ACTIVE, Action.ADD_SERVICES): Step(State.ACTIVE, new_epoch=True),
    (State.FROZEN, Action.ADD_SERVICES): Step(State.FROZEN, new_epoch=True),
    (State.ACTIVE, Action.FREEZE): Step(State.FROZEN, new_epoch=True),
    (State.FROZEN, Action.RENEW): Step(State.FROZEN, new_epoch=True),
    (State.FROZEN, Action.UNFREEZE): Step(State.ACTIVE, new_epoch=True),
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("action", Action)
def test_a_state_allows_these_changes_and_no_others(state: State, action: Action) -> None:
    decided = outcome(placement(state), ask(action))
    expected = ALLOWED.get((state, action))
    if expected is not None:
        assert decided == expected
    elif action is Action.ACKNOWLEDGE:
        assert decided == Unchanged(), "acknowledging again changes nothing"
    else:
        gone = state in (State.MOVED, State.ERASED)
        assert isinstance(decided, Problem)
        assert decided.code is (Code.SUBJECT_GONE if gone else Code.CONFLICT)


@pytest.mark.parametrize("epoch", [6, 8])
def test_another_epoch_than_the_one_that_holds_is_refused(epoch: int) -> None:
    late = outcome(placement(State.RESERVED), ask(Action.ACKNOWLEDGE, epoch))
    assert isinstance(late, Problem)
    assert (late.code, late.extra) == (Code.STALE_EPOCH, {"epoch": 7})
    for action in set(Action) - {Action.ACKNOWLEDGE}:
        refused = outcome(placement(State.ACTIVE), ask(action, epoch))
        assert isinstance(refused, Problem)
        assert (refused.code, refused.extra) == (Code.PRECONDITION_FAILED, {"epoch": 7})


def test_a_foreign_cell_learns_nothing_but_whose_the_subject_is() -> None:
    refused = outcome(placement(State.RESERVED), ask(Action.ACKNOWLEDGE, 6, "us-va"))
    assert isinstance(refused, Problem)
    assert refused.code is Code.FORBIDDEN
    assert "epoch" not in refused.extra


def test_nobody_can_be_changed_who_was_never_placed() -> None:
    for action in Action:
        refused = outcome(None, ask(action))
        assert isinstance(refused, Problem)
        assert refused.code is Code.NOT_FOUND


def test_an_entity_tag_is_the_epoch() -> None:
    assert epoch_held(etag(Epoch(42)), None) == 42
    assert epoch_held(None, 42) == 42
    assert epoch_held(' "42" ', 42) == 42


@pytest.mark.parametrize("header", ["*", 'W/"42"', '"41", "42"', "42", '""', '"x"', '"42', '"' + "9" * 300 + '"'])
def test_an_if_match_that_is_no_single_epoch_is_refused(header: str) -> None:
    with pytest.raises(ProblemError):
        epoch_held(header, None)


def test_no_epoch_and_two_epochs_are_refused() -> None:
    with pytest.raises(ProblemError):
        epoch_held(None, None)
    with pytest.raises(ProblemError):
        epoch_held('"1"', 2)
    with pytest.raises(MalformedWord):
        epoch_held('"9999999999999999999"', None)


@pytest.mark.parametrize(
    "cursor", ["", "=", "zz", "é", paging.encode("number", "1"), paging.encode("subject", "x"), "A" * 101]
)
def test_a_foreign_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(ProblemError):
        paging.decode_subject(cursor)


def test_cursors_name_a_place_in_the_callers_own_list() -> None:
    assert paging.decode_subject(paging.encode("subject", ADA)) == ADA
    assert paging.decode_number(paging.encode("number", "12")) == 12
    assert paging.decode_subject(None) is None
    assert paging.decode_number(None) == 0
    with pytest.raises(ProblemError):
        paging.decode_number(paging.encode("number", "-1"))


def test_scoped_roles_are_those_of_one_kind_with_an_id() -> None:
    caller = Caller(actor="x", roles=frozenset({"cell:eu-de", "cell:", "cells:x", "signup:eu-de", "operator"}))
    assert scoped(caller, "cell") == {"eu-de"}


def test_hints_on_the_wire_are_parsed() -> None:
    assert parse("12 " + ADA) == (12, ADA)
    assert parse("12 ") == (12, None)


@pytest.mark.anyio
async def test_a_commit_wakes_who_waits_for_it_and_nobody_else() -> None:
    commits = Commits()
    other = SubjectId("00000000-0000-0000-0000-000000000001")
    with commits.watch(ADA) as ada, commits.watch(other) as nobody:
        async with asyncio.TaskGroup() as group:
            reached = group.create_task(commits.beyond(FeedSeq(4), 5.0))
            early = group.create_task(commits.beyond(FeedSeq(5), 0.05))
            await asyncio.sleep(0)
            commits.committed(FeedSeq(5), ADA)
        assert (reached.result(), early.result()) == (True, False)
        assert ada.is_set()
        assert not nobody.is_set()
    commits.committed(FeedSeq(3))
    assert commits.head == 5, "a late hint does not take the head back"
    commits.confirmed(FeedSeq(2))
    assert commits.head == 2, "the database's own word does"


def test_a_process_that_hears_nothing_is_not_ready() -> None:
    commits = Commits()
    assert commits.problem() is not None
    commits.hearing(True)
    assert commits.problem() is None


def test_placements_survive_the_wire() -> None:
    sent = placement(State.ACTIVE)
    assert msgspec.json.decode(msgspec.json.encode(sent), type=Placement) == sent
