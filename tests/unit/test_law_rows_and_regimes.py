"""The law, sections 1 and 2 of its page: which rows count on a day, and whose law it is."""

import datetime

import pytest

from foundation.words import Country
from routing_rules.law.calendar import counts, eligible, turning_days
from routing_rules.law.questions import Answer, Effect, Location
from routing_rules.pack import bundled
from routing_rules.pack.rows import Deny, Edge
from tests.stands.law import TODAY, crossing, day, keeping, law, made, person, rows_named

A = {"id": "aa", "countries": "FR"}
B = {"id": "bb", "countries": "GB"}


def edge(**cells: str) -> Edge:
    return made(A, B, edges=[{"from": "aa", "to": "bb"} | cells]).edges[0]


def deny(**cells: str) -> Deny:
    return made(A, B, denies=[{"from": "aa", "to": "bb", "tag": "*"} | cells]).denies[0]


def test_a_row_counts_from_its_first_to_its_last_day() -> None:
    row = edge(since="2024-02-29", until="2024-03-01")
    days = [datetime.date(2024, 2, 28) + datetime.timedelta(days=n) for n in range(4)]
    assert [counts(row, "cautious", at) for at in days] == [False, True, True, False]
    assert turning_days(row) == (day("2024-02-29"), day("2024-03-02"))


def test_a_blank_end_is_for_ever_and_a_blank_start_never() -> None:
    assert counts(edge(), "common", datetime.date.max)
    assert not counts(edge(since=""), "common", datetime.date.max)
    assert eligible([edge(since="")], "common") == ()


@pytest.mark.parametrize(("profile", "cautious", "common"), [("both", True, True), ("cautious", True, False)])
def test_a_row_counts_under_its_profile_only(profile: str, cautious: bool, common: bool) -> None:
    row = edge(profile=profile)
    assert (counts(row, "cautious", TODAY), counts(row, "common", TODAY)) == (cautious, common)


@pytest.mark.parametrize("status", ["in_force", "enacted", "repealed"])
def test_repealed_and_enacted_rows_count_inside_their_dates(status: str) -> None:
    assert counts(edge(status=status), "common", TODAY)


def test_a_promise_never_counts_and_what_is_disputed_counts_only_as_a_restriction() -> None:
    assert not counts(edge(status="promised"), "common", TODAY)
    assert not counts(deny(status="promised"), "common", TODAY)
    assert not counts(edge(status="disputed"), "common", TODAY)
    assert counts(deny(status="disputed"), "common", TODAY)


def test_a_german_is_under_the_union_and_the_german_part_of_it() -> None:
    regimes = law().regimes_of(person("DE"), TODAY)
    assert regimes.ids == ("eu", "eu-de")
    assert regimes.unknown is None


def test_a_stated_part_adds_its_row_and_no_other() -> None:
    assert law().regimes_of(person("US", "US-TX"), TODAY).ids == ("us", "us-tx")


def test_a_stated_part_that_no_row_lists_adds_none() -> None:
    assert law().regimes_of(person("US", "US-NY"), TODAY).ids == ("us",)


def test_without_a_part_the_cautious_take_all_known_ones_and_the_common_none() -> None:
    cautious = law().regimes_of(person("US"), TODAY)
    assert cautious.ids == ("us", "us-ca", "us-states", "us-tx", "us-fl", "us-ia", "us-wa", "us-il")
    assert cautious.stated == ()
    assert law(profile="common").regimes_of(person("US"), TODAY).ids == ("us",)


def test_a_territory_is_under_the_owner_but_not_under_parts_of_another_country() -> None:
    assert law().regimes_of(person("PR"), TODAY).ids == ("us",)


def test_a_part_whose_law_is_enacted_joins_on_its_first_day() -> None:
    assert law().regimes_of(person("US", "US-AL"), day("2027-04-30")).ids == ("us",)
    assert law().regimes_of(person("US", "US-AL"), day("2027-05-01")).ids == ("us", "us-al")
    assert law().regimes_of(person("US", "US-AL"), TODAY).valid_until == day("2027-05-01")


def test_an_enacted_part_that_a_question_names_before_its_day_is_left_out() -> None:
    assert crossing(law(), "us us-al", "de/DE").answer is Answer.UNKNOWN  # no such place
    assert crossing(law(), "us us-al", "eu").answer is Answer.ALLOW
    assert crossing(law(), "us-al", "eu").answer is Answer.UNKNOWN


def test_a_declared_overlay_joins_its_parent_after_all_others() -> None:
    declared = law(overlays=("ae-difc",))
    assert declared.regimes_of(person("AE"), TODAY).ids == ("ae", "ae-difc")
    assert declared.regimes_of(person("DE"), TODAY).ids == ("eu", "eu-de")


def test_transfers_are_unknown_where_overlays_are_not_declared() -> None:
    found = crossing(law(overlays=None), "ae", "eu")
    assert found.answer is Answer.UNKNOWN
    assert rows_named(found) == ["jurisdictions: ae-difc"]
    assert "operator.overlays" in found.ground
    assert crossing(law(overlays=None), "in", "eu").answer is Answer.ALLOW
    assert keeping(law(overlays=None), "ae", "eu").answer is Answer.ALLOW


def test_a_country_whose_law_was_not_researched_makes_every_answer_unknown() -> None:
    regimes = law().regimes_of(person("AF"), TODAY)
    assert regimes.unknown is not None
    assert regimes.unknown.effect is Effect.IS_OPEN
    for finding in (crossing(law(), "default", "default"), keeping(law(), "us default", "eu")):
        assert finding.answer is Answer.UNKNOWN
        assert rows_named(finding)[0] == "jurisdictions: default"


def test_a_row_that_says_nothing_is_known_says_so_on_its_days_too() -> None:
    pack = made(A, B | {"kind": "default", "since": "2020-01-01"}, edges=[{"from": "bb", "to": "aa"}])
    assert crossing(law(pack), "bb", "aa").answer is Answer.UNKNOWN
    assert keeping(law(pack), "aa bb", "aa").answer is Answer.UNKNOWN


def test_no_other_regime_turns_what_is_unknown_into_a_no() -> None:
    denied = crossing(law(), "us", "cn", "human_genomic")
    assert denied.answer is Answer.DENY
    assert crossing(law(), "us cl", "cn", "human_genomic").answer is Answer.UNKNOWN


def test_a_country_that_no_row_owns_is_unknown_and_so_is_a_place_in_it() -> None:
    of = law()
    regimes = of.regimes_of(person("XX"), TODAY)
    assert regimes.unknown is not None
    assert crossing(of, " ".join(regimes.ids), "eu").answer is Answer.UNKNOWN
    nowhere = of.location(Country("XX"))
    assert crossing(of, "us", nowhere.id).answer is Answer.UNKNOWN
    assert keeping(of, "us", nowhere.id).answer is Answer.UNKNOWN


def test_a_question_under_no_regime_is_unknown() -> None:
    assert crossing(law(), "", "eu").answer is Answer.UNKNOWN
    assert keeping(law(), "", "eu").answer is Answer.UNKNOWN


def test_chile_is_unknown_until_its_law_starts_and_says_until_when() -> None:
    before = crossing(law(), "cl", "eu", at=day("2026-11-30"))
    assert (before.answer, before.valid_until) == (Answer.UNKNOWN, day("2026-12-01"))
    assert "counts from 2026-12-01 only" in before.ground
    assert "unresolved" in {reason.row.file for reason in before.reasons if reason.row}
    after = crossing(law(), "cl", "us", at=day("2026-12-01"))
    assert after.answer is Answer.DENY
    assert after.lacks


def test_a_place_is_known_by_its_most_exact_id() -> None:
    of = law()
    assert of.location(Country("US"), "US-TX") == Location("us-tx", "US")
    assert of.location(Country("US"), "US-NY") == Location("us", "US")
    assert of.location(Country("DE")) == Location("eu-de", "DE")
    assert of.location(Country("SE")) == Location("eu", "SE")
    assert of.location(Country("IR")) == Location("ir", "IR")


def test_every_country_of_the_pack_has_regimes_and_a_place_whatever_the_profile() -> None:
    for profile in ("cautious", "common"):
        of = law(profile=profile)
        for country in bundled().owners:
            assert of.regimes_of(person(country), TODAY).ids[0] in bundled().rows
            assert of.location(country).id in bundled().rows


def test_what_starts_and_ends_between_two_days_is_listed_in_order() -> None:
    changes = law().expiring(day("2026-11-21"), day("2027-05-13"))
    named = [(change.day, change.row.name, change.starts) for change in changes if change.row is not None]
    assert (day("2026-12-01"), "cl", True) in named
    assert (day("2027-04-01"), "ca-ns: public_bodies local_only", False) in named
    assert [change.day for change in changes] == sorted(change.day for change in changes)
    assert law().expiring(day("2026-12-01"), day("2026-12-01")) == ()


def test_duties_are_listed_whatever_pulls_them() -> None:
    assert [duty.action for duty in law().duties("eu", TODAY)] == [
        "notify_regulator",
        "complete_transfer_impact_assessment",
    ]
    assert law().duties("nowhere", TODAY) == ()
    before, after = (
        [duty.trigger for duty in law().duties("in", day(at))].count("breach_known")
        for at in ("2027-05-12", "2027-05-13")
    )
    assert (before, after) == (0, 1)
