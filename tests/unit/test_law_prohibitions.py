"""The law, section 4 of its page: what no permission helps against."""

from typing import Any

import pytest

from routing_rules.law.questions import Answer, Effect
from routing_rules.pack import Pack
from tests.stands.law import Rows, crossing, day, law, rows_named
from tests.stands.law_made_up import ALLOW, DENY, THRESHOLD, UNKNOWN, asked, pack


def barred(*rows: dict[str, str], **tables: Rows) -> Pack:
    return pack(
        edges=[{"from": "aa", "to": "*"}],
        denies=[{"from": "aa", "to": "*", "tag": "*"} | row for row in rows],
        **tables,
    )


def test_a_prohibition_beats_every_permission() -> None:
    found = crossing(law(barred({})), "aa", "bb")
    assert found.answer is DENY
    assert rows_named(found) == ["denies: aa -> * *"]
    assert found.reasons[0].effect is Effect.FORBIDS


def test_a_prohibition_binds_its_purpose_only() -> None:
    assert asked(barred({"purpose": "sale"}), purpose="sale") is DENY
    assert asked(barred({"purpose": "sale"})) is ALLOW


@pytest.mark.parametrize(("classes", "answer"), [(("foe",), DENY), ((), ALLOW), (("friend",), ALLOW), (None, UNKNOWN)])
def test_a_prohibition_binds_its_recipients_and_is_open_while_these_are_unknown(classes: Any, answer: Answer) -> None:
    assert asked(barred({"recipient_class": "foe"}), classes=classes) is answer


@pytest.mark.parametrize(
    ("counts", "answer"),
    [({}, DENY), ({"aa/health": 99}, ALLOW), ({"aa/health": 100}, DENY), ({"bb/health": 1}, DENY)],
)
def test_a_threshold_is_reached_unless_a_count_below_it_is_declared(counts: dict[str, int], answer: Answer) -> None:
    of = barred({"threshold_id": "many"}, thresholds=[THRESHOLD])
    assert crossing(law(of, counts=counts), "aa", "bb").answer is answer


def test_a_threshold_that_does_not_count_on_the_day_is_not_reached() -> None:
    of = barred({"threshold_id": "many"}, thresholds=[THRESHOLD | {"since": "2030-01-01"}])
    assert asked(of) is ALLOW
    assert asked(of, at=day("2030-01-01")) is DENY
    assert crossing(law(of), "aa", "bb").valid_until == day("2030-01-01")


def test_one_certain_prohibition_is_enough_whatever_else_is_open() -> None:
    of = barred({"recipient_class": "foe"}, {"tag": "health"})
    assert asked(of, "bb", "health", classes=None) is DENY


def test_a_prohibition_holds_at_home_too() -> None:
    of = pack(denies=[{"from": "bb", "to": "bb", "tag": "*", "recipient_class": "foe"}])
    assert crossing(law(of), "bb", "bb", classes=("foe",)).answer is DENY
    assert crossing(law(of), "bb", "bb", classes=None).answer is UNKNOWN
    assert crossing(law(of), "bb", "bb", classes=()).answer is ALLOW


def test_a_silent_part_still_prohibits() -> None:
    of = pack(
        edges=[{"from": "bb", "to": "cc"}], denies=[{"from": "bb-p", "to": "cc", "tag": "*", "recipient_class": "foe"}]
    )
    assert crossing(law(of), "bb bb-p", "cc", classes=("foe",)).answer is DENY
    assert crossing(law(of), "bb bb-p", "cc", classes=None).answer is UNKNOWN
