"""What a process finds in the ledger of those before it."""

import random
from collections.abc import Sequence

from cells.breakglass.door.ports import Column
from cells.breakglass.statements.before import NOTHING, before, beginning
from cells.breakglass.statements.entries import AnySaid, Closed, Ended, Intended, Opened, Result
from cells.breakglass.statements.history import Kept
from cells.breakglass.words import APART_S_MAX, SECOND_US

AT = 1_800_000_000_000_000
APART_US = APART_S_MAX * SECOND_US
EMAIL = Column(name="email", source="wall.orders.email", masked=True)
SIZE = 100
"""Of each entry here."""


def opened(session: str, grant: str = "g", *, for_us: int = 1_000) -> Opened:
    return Opened(
        session=session,
        grant=grant,
        certificate="c",
        purpose="debugging",
        ticket="OPS-7",
        shard="s1",
        inside=True,
        subjects=("ada", "ben"),
        until_us=AT + for_us,
        backend="1.1",
    )


def intended(session: str, number: int) -> Intended:
    return Intended(session=session, number=number, kind="simple", text="SELECT 1", parameters=(), subjects=("ada",))


def ended(session: str, *results: tuple[int, int]) -> Ended:
    """(number, rows) of each."""
    told = (
        Result(number=number, tag="SELECT", rows=rows, bytes=rows * 10, columns=(EMAIL,)) for number, rows in results
    )
    return Ended(session=session, results=tuple(told))


def closed(session: str, statements: int = 0) -> Closed:
    return Closed(session=session, why="left", statements=statements)


def log(*said: AnySaid | None) -> list[Kept]:
    return [Kept(index, AT + index, "engineer:alice", one, SIZE) for index, one in enumerate(said)]


def test_sessions_of_a_grant_that_still_runs_are_added_up_and_results_count_once() -> None:
    kept = log(
        opened("a"), intended("a", 1), intended("a", 2), ended("a", (1, 3), (2, 4)), ended("a", (1, 3), (2, 4)), closed("a"),
        opened("b"), intended("b", 1), ended("b", (1, 5)),
        opened("c", "other"), intended("c", 1), ended("c", (1, 7)), closed("c", 1),
    )  # fmt: skip
    found = before(kept, AT + 500)
    assert (found.spent["g"].rows, found.spent["g"].bytes, found.spent["g"].told) == (12, 120, True)
    assert found.spent["other"].rows == 7
    assert found.spent["g"].recorded > 9 * SIZE, "and two notices of what ended"
    assert [(one.session.id, one.session.engineer, one.numbered, one.untold) for one in found.left] == [
        ("b", "engineer:alice", 1, 0)
    ]


def test_a_statement_of_which_nothing_is_told_makes_its_grant_unknown_also_when_its_session_was_ended_since() -> None:
    left = (opened("a"), intended("a", 1), ended("a", (1, 3)), intended("a", 2))
    for kept in (log(*left), log(*left, closed("a", 2))):
        found = before(kept, AT + 500)
        assert (found.spent["g"].rows, found.spent["g"].told) == (3, False)
    assert [(one.numbered, one.untold, one.columns) for one in before(log(*left), AT).left] == [(2, 1, (EMAIL,))]


def test_a_grant_of_which_no_certificate_holds_has_nothing_more_to_spend_and_its_session_still_wants_an_end() -> None:
    kept = log(opened("a", for_us=100), intended("a", 1), ended("a", (1, 3)))
    ends = AT + 100 + APART_US
    assert before(kept, AT + 100).spent["g"].rows == before(kept, ends - 1).spent["g"].rows == 3
    found = before(kept, ends)
    assert (found.spent, [one.session.id for one in found.left]) == ({}, ["a"])
    assert before(log(*(one.said for one in kept), closed("a", 1)), ends) == NOTHING


def test_erased_entries_and_those_of_sessions_that_nobody_opened_are_passed_over() -> None:
    assert before(log(None, intended("a", 1), ended("a", (1, 9)), closed("a"), None), AT) == NOTHING


def some_log(chance: random.Random) -> Sequence[Kept]:
    said, open_, numbered = list[AnySaid | None](), list[str](), dict[str, int]()
    for step in range(chance.randrange(1, 60)):
        if not open_ or chance.random() < 0.2:
            session = f"s{step}"
            said.append(opened(session, chance.choice("gh"), for_us=chance.randrange(60)))
            open_.append(session)
            continue
        session = chance.choice(open_)
        match chance.randrange(3):
            case 0:
                numbered[session] = numbered.get(session, 0) + 1
                said.append(intended(session, numbered[session]))
            case 1 if numbered.get(session):
                said.append(ended(session, (chance.randrange(1, numbered[session] + 1), chance.randrange(9))))
            case _:
                said.append(closed(session, numbered.get(session, 0)))
                open_.remove(session)
    return log(*said)


def test_reading_from_where_the_first_that_matters_begins_finds_the_same() -> None:
    found = 0
    for seed in range(300):
        chance = random.Random(seed)
        kept, at_us = some_log(chance), AT + APART_US + chance.randrange(60)
        first = beginning((one for one in kept if isinstance(one.said, Opened | Closed)), at_us)
        assert before(kept, at_us) == (NOTHING if first is None else before(kept[first:], at_us))
        if first is not None:
            found += 1
            assert before(kept[first + 1 :], at_us) != before(kept, at_us), "and later is too late"
    assert 0 < found < 300
