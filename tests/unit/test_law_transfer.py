"""The law, section 4 of its page: may it be transferred, where to, and until when does the answer hold?"""

import pytest

from foundation.words import Country, JurisdictionId
from routing_rules.law.questions import Answer, Effect, TransferQuestion
from routing_rules.law.questions import Location as Place
from tests.stands.law import TODAY, Rows, crossing, day, law, made, shown
from tests.stands.law_made_up import ALLOW, DENY, PLACES, UNKNOWN, WITH, asked, edges, pack


@pytest.mark.parametrize(
    ("to", "where", "answer"),
    [
        ("bb", "bb", ALLOW),
        ("bb", "cc", UNKNOWN),
        ("bb", "bb-p", ALLOW),
        ("bb-p", "bb", UNKNOWN),
        ("bb-p", "bb-p", ALLOW),
    ],
)
def test_a_row_names_an_id_and_its_parts_but_not_the_whole_of_a_part(to: str, where: str, answer: Answer) -> None:
    assert asked(edges({"to": to}), where) is answer


def test_any_destination_is_matched_by_the_star_also_one_of_which_nothing_is_known() -> None:
    of = made(
        *PLACES,
        {"id": "default", "kind": "default", "countries": "AF"},
        gateways=[{"from": "aa", "to": "*", "requirement": "none"}],
    )
    assert asked(of, "cc") is ALLOW
    assert asked(of, "default") is ALLOW


@pytest.mark.parametrize("where", ["bb", "bb-p"])
def test_a_scheme_is_reached_inside_its_parent_by_recipients_that_are_proven(where: str) -> None:
    of = edges({"to": "bb-s", "recipient_class": "certified;sworn"})
    assert asked(of, where, classes=("sworn",)) is ALLOW
    assert asked(of, where, classes=()) is UNKNOWN
    assert asked(of, where, classes=("other",)) is UNKNOWN
    assert asked(of, where, classes=None) is UNKNOWN
    assert asked(of, "cc", classes=("sworn",)) is UNKNOWN


@pytest.mark.parametrize("where", ["bb-s", "cc-z", "nowhere"])
def test_schemes_overlays_and_unknown_ids_are_no_places(where: str) -> None:
    of = edges({"to": "bb-s"}, {"to": "cc-z"})
    assert asked(of, where) is UNKNOWN


def test_a_group_is_reached_through_a_member_that_counts_on_the_day() -> None:
    member = {"group": "club", "member": "bb", "since": "2030-01-01", "until": "2030-12-31"}
    of = edges({"to": "group:club"}, groups=[member, {"group": "club", "member": "cc"}])
    answers = [asked(of, "bb-p", at=day(at)) for at in ("2029-12-31", "2030-01-01", "2031-01-01")]
    assert answers == [UNKNOWN, ALLOW, UNKNOWN]
    assert crossing(law(of), "aa", "bb").valid_until == day("2030-01-01")


@pytest.mark.parametrize(
    ("members", "denied"),
    [
        ([{"member": "cc"}], ALLOW),
        ([{"member": "cc", "membership_complete": "false"}], UNKNOWN),
        ([{"member": "cc"}, {"member": "aa", "since": "", "membership_complete": "false"}], UNKNOWN),
        ([{"member": "", "membership_complete": "true"}], UNKNOWN),
        ([{"member": "cc", "since": "2030-01-01"}], UNKNOWN),
        ([{"member": "cc"}, {"member": "bb-s"}], UNKNOWN),
        ([{"member": "bb-s"}, {"member": "bb"}], DENY),
    ],
)
def test_who_is_not_in_a_group_is_known_only_of_complete_lists_of_places(members: Rows, denied: Answer) -> None:
    """Shown on a prohibition: not named is allowed, may be named is unknown."""
    of = pack(
        edges=[{"from": "aa", "to": "bb"}],
        denies=[{"from": "aa", "to": "group:club", "tag": "*"}],
        groups=[{"group": "club"} | member for member in members],
    )
    assert asked(of) is denied


def test_an_excepted_country_is_outside_and_an_unknown_country_is_unknown() -> None:
    of = edges({"to": "bb", "to_except_countries": "LI"})
    assert asked(of, "bb/GB") is ALLOW
    assert asked(of, "bb/LI") is UNKNOWN
    assert asked(of, "bb") is UNKNOWN
    assert "whether it names that destination is not known" in crossing(law(of), "aa", "bb").ground


def test_nothing_leaves_a_regime_towards_itself_or_its_parts() -> None:
    of = pack()
    assert crossing(law(of), "bb", "bb").answer is ALLOW
    assert crossing(law(of), "bb", "bb-p").answer is ALLOW
    assert crossing(law(of), "bb", "bb-p").duties == ()


def test_a_part_needs_rows_of_its_own_towards_the_whole() -> None:
    of = pack(gateways=[{"from": "bb-p", "to": "cc", "requirement": "none"}])
    assert crossing(law(of), "bb-p", "bb").answer is UNKNOWN


def test_a_part_without_rows_on_transfers_is_silent_and_alone_leaves_all_unknown() -> None:
    of = pack(edges=[{"from": "bb", "to": "cc"}])
    assert crossing(law(of), "bb bb-p", "cc").answer is ALLOW
    assert crossing(law(of), "bb-p", "cc").answer is UNKNOWN


def test_a_part_with_rows_that_do_not_count_is_not_silent() -> None:
    of = pack(edges=[{"from": "bb", "to": "cc"}, {"from": "bb-p", "to": "cc", "status": "promised"}])
    assert crossing(law(of), "bb bb-p", "cc").answer is UNKNOWN


def test_where_no_row_speaks_the_answer_says_so() -> None:
    found = crossing(law(pack()), "aa", "bb")
    assert found.answer is UNKNOWN
    assert found.ground == "no row of aa speaks of transfers to bb"


def test_unknown_names_the_lines_that_say_what_is_open_about_transfers() -> None:
    lines = [
        {"fact_ref": "jurisdictions.csv:aa", "field": field, "text": "text", "why": "why"}
        for field in ("transfer_allow", "storage_rule", "law")
    ]
    found = crossing(law(pack(unresolved=lines)), "aa", "bb")
    named = [(one.row.file, one.row.line) for one in found.reasons if one.row is not None]
    assert named == [("unresolved", 2), ("unresolved", 4)]


def test_rows_that_do_not_count_yet_are_named_with_their_day() -> None:
    found = crossing(law(edges({"to": "bb", "since": "2030-01-01"})), "aa", "bb")
    assert found.ground == "aa -> bb: counts from 2030-01-01 only"
    assert found.valid_until == day("2030-01-01")


def test_all_regimes_must_agree_and_the_worst_decides() -> None:
    of = law(
        pack(
            edges=[{"from": "aa", "to": "bb"}],
            gateways=[{"from": "cc", "to": "*", "requirement": "scc"}],
            denies=[{"from": "cc", "to": "*", "tag": "number"}],
        ),
        shown("cc", "*", "scc"),
    )
    assert crossing(of, "aa cc", "bb").answer is WITH
    assert crossing(of, "aa cc", "bb", "health").answer is DENY
    assert crossing(of, "cc aa", "bb", "number").answer is DENY
    assert crossing(of, "aa bb", "cc").answer is UNKNOWN


def test_reasons_come_worst_first_and_each_names_a_row() -> None:
    of = pack(edges=[{"from": "aa", "to": "bb"}], denies=[{"from": "cc", "to": "*", "tag": "*"}])
    found = crossing(law(of), "aa cc", "bb")
    assert [reason.effect for reason in found.reasons] == [Effect.FORBIDS, Effect.PERMITS]
    assert [(one.row.file, one.row.line) for one in found.reasons if one.row] == [("denies", 2), ("edges", 2)]


def test_an_answer_holds_until_a_row_or_instrument_that_speaks_of_the_place_starts_or_ends() -> None:
    of = pack(
        edges=[{"from": "aa", "to": "bb", "until": "2031-12-27"}, {"from": "aa", "to": "cc", "until": "2027-01-01"}],
        gateways=[{"from": "aa", "to": "*", "requirement": "scc"}],
    )
    assert crossing(law(of), "aa", "bb").valid_until == day("2031-12-28")
    held = law(of, shown("aa", "bb", "scc", until=day("2029-03-31")))
    assert crossing(held, "aa", "bb").valid_until == day("2029-04-01")
    assert crossing(held, "aa", "cc").valid_until == day("2027-01-02")
    assert crossing(law(of), "aa", "bb", at=day("2031-12-28")).valid_until is None


def test_the_question_may_be_asked_of_any_day_there_is() -> None:
    of = law(edges({"to": "bb", "until": "9999-12-31"}))
    assert crossing(of, "aa", "bb", at=day("0001-01-01")).answer is UNKNOWN
    assert crossing(of, "aa", "bb", at=day("9999-12-31")).answer is ALLOW
    assert crossing(of, "aa", "bb", at=day("9999-12-31")).valid_until is None


def test_two_laws_of_the_same_facts_answer_alike() -> None:
    question = TransferQuestion(
        regimes=(JurisdictionId("eu"), JurisdictionId("us")), to=Place(JurisdictionId("in"), Country("IN")), purpose="x"
    )
    assert law().transfer(question, TODAY) == law().transfer(question, TODAY)
