"""The traps that the compilers of the facts named, on the bundled pack as it stands."""

import pytest

from foundation.words import Country
from routing_rules.law.questions import Answer
from routing_rules.pack import bundled
from tests.stands.law import TODAY, crossing, day, keeping, law, person, rows_named, shown

ALLOW, WITH, DENY, UNKNOWN = Answer.ALLOW, Answer.ALLOW_WITH, Answer.DENY, Answer.UNKNOWN


def test_the_union_to_america_is_open_only_for_recipients_that_are_certified() -> None:
    assert crossing(law(), "eu", "us", classes=("dpf_certified",)).answer is ALLOW
    refused = crossing(law(), "eu", "us", classes=("dpf_swiss_certified",))
    assert refused.answer is DENY
    assert [lack.requirements for lack in refused.lacks] == [("scc", "impact_assessment"), ("bcr", "impact_assessment")]
    assert crossing(law(), "eu", "us-dpf", classes=("dpf_certified",)).answer is UNKNOWN


def test_the_union_to_america_by_clauses_and_assessment_carries_its_duty() -> None:
    filed = (shown("eu", "us", "scc"), shown("eu", "us", "impact_assessment"))
    found = crossing(law(None, *filed), "eu eu-de", "us-tx")
    assert found.answer is WITH
    assert [duty.action for duty in found.duties] == ["complete_transfer_impact_assessment"]


def test_the_union_to_the_united_kingdom_ends_with_its_decision() -> None:
    assert crossing(law(), "eu", "uk").valid_until == day("2031-12-28")
    assert crossing(law(), "eu", "uk", at=day("2031-12-27")).answer is ALLOW
    assert crossing(law(), "eu", "uk", at=day("2031-12-28")).answer is DENY
    assert crossing(law(), "eu", "gi").answer is DENY


def test_edges_are_never_symmetric_or_transitive() -> None:
    assert crossing(law(), "uk", "eu").answer is ALLOW
    assert crossing(law(), "uk", "us", classes=("dpf_certified",)).answer is DENY


def test_korea_to_the_union_is_open_but_not_for_credit_data_or_resident_numbers() -> None:
    assert crossing(law(), "kr", "eu").answer is ALLOW
    for tag in ("credit_information", "resident_registration_number", "financial", "id_images", "government_id"):
        assert crossing(law(), "kr", "eu", tag).answer is DENY
    consented = law(None, shown("kr", "eu", "consent", "credit"))
    assert crossing(consented, "kr", "eu", "credit_information").answer is WITH


@pytest.mark.parametrize(
    ("where", "hours", "answer"),
    [("in", 24, ALLOW), ("in us", 24, ALLOW), ("in us", 25, DENY), ("in us", None, DENY)],
)
def test_indian_payments_may_be_handled_abroad_for_a_day_but_lie_at_home(
    where: str, hours: int | None, answer: Answer
) -> None:
    assert keeping(law(), "in", "in", "payments", processes=where, hours=hours).answer is answer
    assert keeping(law(), "in", "us", "payments", hours=0).answer is DENY
    assert "payment_processed_abroad" in [duty.trigger for duty in crossing(law(), "in", "us", "payments").duties]


def test_india_owes_its_core_duties_from_their_day() -> None:
    triggers = [{duty.trigger for duty in law().duties("in", day(at))} for at in ("2027-05-12", "2027-05-13")]
    assert "grievance_received" not in triggers[0]
    assert "grievance_received" in triggers[1]


def test_a_kenyan_process_at_home_or_one_serving_copy_there_will_do() -> None:
    assert keeping(law(), "ke", "eu", "elections").answer is DENY
    assert keeping(law(), "ke", "eu", "elections", processes="ke").answer is ALLOW
    assert keeping(law(), "ke", "eu", "elections", copies="ke").answer is ALLOW
    assert keeping(law(), "ke", "eu").answer is ALLOW


def test_special_data_flips_the_kenyan_model() -> None:
    contract = (shown("ke", "eu", "scc", "*"),)
    assert crossing(law(None, *contract), "ke", "eu").answer is WITH
    assert crossing(law(None, *contract), "ke", "eu", "health").answer is DENY
    assert crossing(law(None, *contract, shown("ke", "eu", "consent", "health")), "ke", "eu", "health").answer is WITH


@pytest.mark.parametrize("where", ["cn", "hk", "ru", "ir"])
def test_the_american_bulk_rule_reaches_every_count_that_is_not_declared(where: str) -> None:
    assert crossing(law(), "us", where, "biometric").answer is DENY
    assert crossing(law(counts={"us/biometric": 999}), "us", where, "biometric").answer is ALLOW
    assert crossing(law(counts={"us/biometric": 1000}), "us", where, "biometric").answer is DENY
    assert crossing(law(), "us", where).answer is ALLOW


def test_the_american_bulk_rule_follows_covered_persons_anywhere() -> None:
    assert crossing(law(), "us", "eu", "human_genomic", classes=("covered_person",)).answer is DENY
    assert crossing(law(), "us", "eu", "human_genomic", classes=()).answer is ALLOW
    assert crossing(law(), "us", "eu", "human_genomic", classes=None).answer is UNKNOWN


@pytest.mark.parametrize("carried", ["genetic", "financial", "location", "government_id"])
def test_the_american_bulk_rule_holds_for_data_that_may_be_what_it_names(carried: str) -> None:
    assert crossing(law(), "us", "cn", carried).answer is DENY


@pytest.mark.parametrize(("origin", "on"), [("ar", "2030-01-01"), ("ec", "2027-01-01"), ("id", "2030-01-01")])
def test_promised_edges_are_never_on(origin: str, on: str) -> None:
    assert crossing(law(), origin, "us", at=day(on)).answer is DENY


def test_nova_scotia_changes_its_law_without_a_gap() -> None:
    for at in ("2027-03-31", "2027-04-01"):
        found = keeping(law(sectors=("public_bodies",)), "ca ca-ns", "us", at=day(at))
        assert found.answer is DENY
        assert [one.row.line for one in found.reasons if one.row] == [40 if at == "2027-03-31" else 42]
    approved = [shown("ca-ns", "us", word, "public_bodies") for word in ("approval", "consent")]
    assert keeping(law(None, *approved, sectors=("public_bodies",)), "ca ca-ns", "us").answer is ALLOW
    assert keeping(law(sectors=("public_bodies",)), "ca ca-ns", "us").valid_until == day("2027-04-01")


def test_macedonia_to_the_union_needs_its_notification() -> None:
    assert crossing(law(), "mk", "eu").answer is DENY
    found = crossing(law(None, shown("mk", "eu", "notification")), "mk", "eu-de")
    assert found.answer is WITH
    assert [duty.trigger for duty in found.duties] == ["transfer_to_eu"]


def test_colombia_names_the_union_without_liechtenstein() -> None:
    assert crossing(law(), "co", "eu/SE").answer is ALLOW
    assert crossing(law(), "co", "eu/LI").answer is DENY
    assert crossing(law(), "co", "eu").answer is DENY


def test_germany_and_france_are_silent_on_transfers_and_speak_on_storage() -> None:
    assert crossing(law(), "eu eu-de", "uk").answer is ALLOW
    assert crossing(law(), "eu-de", "uk").answer is UNKNOWN
    assert keeping(law(sectors=("tax_books",)), "eu eu-de", "eu").answer is DENY
    assert keeping(law(sectors=("tax_books",)), "eu eu-de", "eu-de").answer is ALLOW
    assert keeping(law(profile="common", sectors=("tax_books",)), "eu eu-de", "eu").answer is ALLOW


def test_two_laws_of_one_american_must_both_allow() -> None:
    ill = law().regimes_of(person("US", "US-WA"), TODAY).ids
    assert ill == ("us", "us-wa")
    assert crossing(law(), " ".join(ill), "in").answer is ALLOW
    assert crossing(law(), " ".join(ill), "in", "consumer_health").answer is DENY
    assert crossing(law(), "us", "in", "consumer_health").answer is ALLOW


def test_electronic_health_records_of_texas_stay_in_america() -> None:
    assert keeping(law(sectors=("ehr",)), "us us-tx", "eu").answer is DENY
    assert keeping(law(sectors=("ehr",)), "us us-tx", "us-ca").answer is ALLOW
    assert keeping(law(sectors=("ehr",)), "us", "eu").answer is ALLOW


def test_which_america_is_continental_is_open_for_a_place_without_its_part() -> None:
    assert keeping(law(sectors=("ehr",)), "us us-fl", "us-ca").answer is ALLOW
    assert keeping(law(sectors=("ehr",)), "us us-fl", "us").answer is UNKNOWN
    assert keeping(law(profile="common", sectors=("ehr",)), "us us-fl", "us").answer is ALLOW


def test_schemes_of_a_group_make_america_no_place_for_german_health_clouds() -> None:
    of = law(sectors=("health_social_cloud",))
    assert keeping(of, "eu eu-de", "uk").answer is ALLOW
    assert keeping(of, "eu eu-de", "uk", at=day("2031-12-28")).answer is DENY
    assert keeping(of, "eu eu-de", "us").answer is UNKNOWN
    assert keeping(of, "eu eu-de", "in").answer is DENY


def test_russians_first_write_at_home_whether_they_live_there_or_not() -> None:
    common = law(profile="common")
    assert keeping(common, "eu", "eu", citizens="ru").answer is DENY
    assert keeping(common, "eu", "ru", citizens="ru", stores="ru eu").answer is ALLOW
    assert keeping(common, "eu", "eu", citizens="eu").answer is ALLOW
    assert keeping(common, "eu", "eu", citizens=None).answer is UNKNOWN


def test_the_cautious_read_russia_as_no_copies_abroad() -> None:
    assert keeping(law(), "ru", "ru", citizens="ru", stores="ru eu").answer is DENY
    assert keeping(law(), "ru", "ru", citizens="ru").answer is ALLOW


def test_the_cautious_read_kazakhstan_as_first_touch_at_home() -> None:
    assert keeping(law(), "kz", "eu", copies="kz").answer is DENY
    assert keeping(law(profile="common"), "kz", "eu", copies="kz").answer is ALLOW


def test_rwanda_lets_go_by_approval_and_zambia_never_of_special_data() -> None:
    assert keeping(law(), "rw", "eu").answer is DENY
    assert keeping(law(None, shown("rw", "eu", "approval")), "rw", "eu").answer is ALLOW
    approved = law(None, shown("zm", "eu", "approval", "*"))
    assert keeping(approved, "zm", "eu").answer is ALLOW
    assert keeping(approved, "zm", "eu", "health").answer is DENY


def test_china_exempts_nobody_whose_counts_are_not_declared() -> None:
    grounds = [shown("cn", "*", word, "*") for word in ("consent", "impact_assessment")]
    counts = {"cn/non_special_category": 99_999, "cn/special_category": 0}
    assert crossing(law(None, *grounds, counts=counts), "cn", "us").answer is WITH
    assert crossing(law(None, *grounds, counts=counts | {"cn/special_category": 1}), "cn", "us").answer is DENY
    assert crossing(law(None, *grounds), "cn", "us").answer is DENY
    assert crossing(law(None, *grounds, counts=counts), "cn", "us", "health").answer is DENY
    assert crossing(law(None, *grounds, counts=counts, sectors=("ciio",)), "cn", "us").answer is DENY


def test_who_belongs_to_groups_that_the_files_leave_open_is_unknown() -> None:
    everyone = law(None, shown("bh", "*", "consent"))
    assert crossing(everyone, "bh", "eu").answer is WITH
    secret = law(None, *(shown("ru", "*", word) for word in ("notification", "impact_assessment")))
    assert crossing(secret, "ru", "eu").answer is WITH
    assert crossing(secret, "ru", "us").answer is DENY


def test_health_data_that_may_be_consumer_health_is_open_in_washington() -> None:
    """One alternative covers only `consumer_health`, the other all but that and what may be that."""
    consented = law(None, shown("us-wa", "*", "consent", "*"))
    assert crossing(consented, "us us-wa", "eu", "consumer_health").answer is WITH
    found = crossing(consented, "us us-wa", "eu", "health")
    assert found.answer is UNKNOWN
    assert found.ground.startswith("us-wa -> * #1 consent: does not cover health")


def test_unknown_names_a_row_or_a_line_or_says_that_none_speaks() -> None:
    of = law(sectors=None)
    for country in bundled().owners:
        regimes = of.regimes_of(person(country), TODAY).ids
        for where in ("eu", "us", "default"):
            found = crossing(of, " ".join(regimes), where, "health")
            if found.answer is UNKNOWN:
                assert any(reason.row is not None or "no row" in reason.what for reason in found.reasons)
            assert found.reasons


def test_the_general_rules_that_are_open_name_their_lines() -> None:
    for regime in ("kg", "tj", "kw", "et"):
        found = keeping(law(), regime, regime)
        assert found.answer is UNKNOWN
        assert any(name.startswith("unresolved: ") for name in rows_named(found)), regime


def test_overlays_follow_the_entity() -> None:
    zone = law(None, shown("ae", "eu", "contract"), overlays=("ae-adgm",))
    regimes = " ".join(zone.regimes_of(person("AE"), TODAY).ids)
    assert regimes == "ae ae-adgm"
    assert crossing(zone, regimes, "eu").answer is WITH
    assert crossing(law(None, shown("ae", "*", "contract"), overlays=("ae-adgm",)), regimes, "us").answer is DENY


def test_children_need_prior_authorisation_in_south_africa() -> None:
    prior = [shown("za", "eu", word) for word in ("contract", "approval")]
    assert crossing(law(None, *prior), "za", "eu", "children").answer is DENY
    listed = [shown("za", "eu", word, "child") for word in ("contract", "approval")]
    assert crossing(law(None, *listed), "za", "eu", "children").answer is WITH


def test_locations_of_the_embedded_regions_are_their_parts() -> None:
    assert [law().location(Country(one)).id for one in ("DE", "US", "IN")] == ["eu-de", "us", "in"]
