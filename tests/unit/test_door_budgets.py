"""A grant has one budget, whichever of its certificates a session comes by, and however far apart they end."""

import random
from pathlib import Path

import pytest

from cells.breakglass.book import Book
from cells.breakglass.core import take
from cells.breakglass.door import endings
from cells.breakglass.door.budgets import Budgets
from cells.breakglass.door.frames import Malformed
from cells.breakglass.door.ports import Session, Spent
from cells.breakglass.door.settings import DoorSettings, DoorTls
from cells.breakglass.statements.spending import Spending
from cells.breakglass.steps import Approved, Certified, Intended, Requested, Taken
from cells.breakglass.words import APART_S_MAX, MINUTE_US, SECOND_US, GrantId
from foundation.clock import ManualClock
from foundation.words import ShardId
from tests.stands.access import ALICE, AT, BOB, GRANT, must, presence, terms

MINUTES = 60
SETTINGS = DoorSettings(
    host="127.0.0.1", port=0, tls=DoorTls(certificate=Path("x"), key=Path("x")), rows_max=100, grant_sessions_max=1
)


def session(expires_at: float, grant: str = "g") -> Session:
    return Session(
        id="5e" * 16,
        grant=grant,
        engineer=ALICE,
        certificate="c",
        purpose="debugging",
        ticket="OPS-7",
        shard="s1",
        inside=True,
        subjects=("ada",),
        expires_at=expires_at,
    )


def test_a_second_certificate_that_ends_later_brings_no_second_budget() -> None:
    clock, budgets = ManualClock(), Budgets(SETTINGS)
    began = clock.unix_s()
    first, second = session(began + 900), session(began + 900 + APART_S_MAX - 1)
    budget, left = budgets.enter(first, Spent(), began)
    left()
    clock.advance(901)
    again, left = budgets.enter(second, Spent(), clock.unix_s())
    assert again is budget
    left()
    clock.advance(2 * APART_S_MAX)
    budgets.enter(session(clock.unix_s() + 900, "other"), Spent(), clock.unix_s())
    assert budgets.enter(first, Spent(), clock.unix_s())[0] is not budget, "once none of them holds any more"


def test_what_a_grant_puts_on_the_record_is_counted_under_all_of_its_certificates() -> None:
    clock, spending = ManualClock(), Spending(1_000)
    began = clock.unix_s()
    spending.opened(session(began + 900), began)
    spending.add("g", 900)
    clock.advance(901)
    spending.opened(session(began + 900 + APART_S_MAX - 1), clock.unix_s())
    assert (spending.fits("g", 100), spending.fits("g", 101)) == (True, False)


def test_a_grant_of_which_it_is_not_known_what_it_had_and_one_with_as_many_sessions_as_may_are_refused() -> None:
    budgets = Budgets(SETTINGS)
    with pytest.raises(Malformed) as refused:
        budgets.enter(session(10), Spent(told=False), 0)
    assert refused.value.error == endings.UNTOLD
    _, left = budgets.enter(session(10), Spent(rows=30), 0)
    with pytest.raises(Malformed) as refused:
        budgets.enter(session(10), Spent(), 0)
    assert refused.value.error == endings.TOO_MANY
    left()
    assert budgets.enter(session(10), Spent(), 0)[0].rows == 70


def some_ends(chance: random.Random) -> list[int]:
    """When the certificates of a grant end (µs), which was asked for and signed in some order; none that is out by its signing."""
    book, at_us = Book(), AT
    must(book, ALICE, Requested(grant=GRANT, terms=terms(minutes=MINUTES), presence=presence(), needed=1))
    must(book, BOB, Approved(grant=GRANT, version=1, presence=presence()))
    meant = dict[str, int]()
    for number in range(12):
        at_us += chance.choice((1, SECOND_US, chance.randrange(50 * MINUTE_US)))
        if not meant or chance.random() < 0.5:
            serial, ends = f"{number:032x}", at_us + chance.randrange(1, MINUTES * MINUTE_US + 1)
            step = Intended(
                grant=GRANT,
                serial=serial,
                key="ab" * 32,
                shard=ShardId("s1"),
                presence=presence(),
                from_us=AT,
                until_us=ends,
            )
            if take(book, Taken(at_us, ALICE, step)) is None:
                meant[serial] = ends
        else:
            serial = chance.choice([*meant])
            signed = Certified(grant=GRANT, serial=serial, digest="cd" * 32, index=1, size=2, root="ef" * 32)
            take(book, Taken(at_us, ALICE, signed))
    return [one.until_us for one in book.grants[GrantId(GRANT)].intents if one.digest is not None]


def test_no_certificate_of_a_grant_ends_so_much_later_than_another() -> None:
    apart = 0
    for seed in range(500):
        ends = some_ends(random.Random(seed))
        if ends:
            assert max(ends) - min(ends) < APART_S_MAX * SECOND_US
            apart += max(ends) > min(ends)
    assert apart > 10, "and they do end at different times"
