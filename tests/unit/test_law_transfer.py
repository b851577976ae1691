"""The law, section 4 of its page: may it be transferred?"""

from typing import Any

import pytest

from foundation.words import Country, JurisdictionId
from routing_rules.law.questions import Answer, Effect, Finding, Lack, TransferQuestion
from routing_rules.law.questions import Location as Place
from routing_rules.pack import Pack
from tests.stands.law import TODAY, Rows, crossing, day, law, made, rows_named, shown

A = {"id": "aa", "countries": "FR"}
B = {"id": "bb", "kind": "bloc", "countries": "GB;LI"}
C = {"id": "cc", "countries": "CH"}
PART = {"id": "bb-p", "kind": "subdivision", "parent": "bb", "subdivisions": "GB-P"}
SCHEME = {"id": "bb-s", "kind": "scheme", "parent": "bb"}
ZONE = {"id": "cc-z", "kind": "overlay", "parent": "cc"}
PLACES = (A, B, C, PART, SCHEME, ZONE)
TAGS: Rows = [
    {"tag": "special_category"},
    {"tag": "health"},
    {"tag": "money", "may_be": "number"},
    {"tag": "number"},
    {"tag": "bank", "kind": "sector"},
    {"tag": "payments", "kind": "sector"},
    {"tag": "wellness", "may_be": "consumer_health"},
    {"tag": "consumer_health"},
]
ALLOW, WITH, DENY, UNKNOWN = Answer.ALLOW, Answer.ALLOW_WITH, Answer.DENY, Answer.UNKNOWN


def pack(**tables: Rows) -> Pack:
    return made(*PLACES, **({"tags": TAGS} | tables))


def edges(*rows: dict[str, str], **tables: Rows) -> Pack:
    return pack(edges=[{"from": "aa"} | row for row in rows], **tables)


def gateways(*rows: dict[str, str], **tables: Rows) -> Pack:
    return pack(gateways=[{"from": "aa", "to": "*"} | row for row in rows], **tables)


def asked(of: Pack, to: str = "bb", *tags: str, **more: Any) -> Answer:
    return crossing(law(of), "aa", to, *tags, **more).answer


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


THRESHOLD = {"id": "many", "jurisdiction": "aa", "tag": "health", "min": "100"}


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


def test_nothing_leaves_a_regime_towards_itself_or_its_parts() -> None:
    of = pack()
    assert crossing(law(of), "bb", "bb").answer is ALLOW
    assert crossing(law(of), "bb", "bb-p").answer is ALLOW
    assert crossing(law(of), "bb", "bb-p").duties == ()


def test_a_part_needs_rows_of_its_own_towards_the_whole() -> None:
    of = pack(gateways=[{"from": "bb-p", "to": "cc", "requirement": "none"}])
    assert crossing(law(of), "bb-p", "bb").answer is UNKNOWN


def test_a_prohibition_holds_at_home_too() -> None:
    of = pack(denies=[{"from": "bb", "to": "bb", "tag": "*", "recipient_class": "foe"}])
    assert crossing(law(of), "bb", "bb", classes=("foe",)).answer is DENY
    assert crossing(law(of), "bb", "bb", classes=None).answer is UNKNOWN
    assert crossing(law(of), "bb", "bb", classes=()).answer is ALLOW


def test_a_part_without_rows_on_transfers_is_silent_and_alone_leaves_all_unknown() -> None:
    of = pack(edges=[{"from": "bb", "to": "cc"}])
    assert crossing(law(of), "bb bb-p", "cc").answer is ALLOW
    assert crossing(law(of), "bb-p", "cc").answer is UNKNOWN


def test_a_part_with_rows_that_do_not_count_is_not_silent() -> None:
    of = pack(edges=[{"from": "bb", "to": "cc"}, {"from": "bb-p", "to": "cc", "status": "promised"}])
    assert crossing(law(of), "bb bb-p", "cc").answer is UNKNOWN


def test_a_silent_part_still_prohibits() -> None:
    of = pack(
        edges=[{"from": "bb", "to": "cc"}], denies=[{"from": "bb-p", "to": "cc", "tag": "*", "recipient_class": "foe"}]
    )
    assert crossing(law(of), "bb bb-p", "cc", classes=("foe",)).answer is DENY
    assert crossing(law(of), "bb bb-p", "cc", classes=None).answer is UNKNOWN


def test_a_row_without_tags_covers_the_data_and_every_tag() -> None:
    assert asked(edges({"to": "bb"}), "bb", "health", "number") is ALLOW


def test_what_a_row_excepts_is_not_covered_nor_what_may_be_it() -> None:
    of = edges({"to": "bb", "tags_except": "number"})
    assert asked(of) is ALLOW
    assert asked(of, "bb", "health") is ALLOW
    assert asked(of, "bb", "number") is UNKNOWN
    assert asked(of, "bb", "money") is UNKNOWN
    assert "does not cover money" in crossing(law(of), "aa", "bb", "money").ground


def test_excepting_the_special_excepts_what_the_sender_lists_and_what_is_special_as_such() -> None:
    of = edges(
        {"to": "bb", "tags_except": "special_category"},
        special_categories=[{"jurisdiction": "aa", "tag": "number"}, {"jurisdiction": "bb", "tag": "health"}],
    )
    assert asked(of, "bb", "health") is ALLOW
    assert asked(of, "bb", "number") is UNKNOWN
    assert asked(of, "bb", "money") is UNKNOWN
    assert asked(of, "bb", "special_category") is UNKNOWN


def test_data_special_as_such_may_be_an_excepted_tag_that_is_special_there() -> None:
    of = edges({"to": "bb", "tags_except": "number"}, special_categories=[{"jurisdiction": "aa", "tag": "number"}])
    assert asked(of, "bb", "special_category") is UNKNOWN
    assert asked(edges({"to": "bb", "tags_except": "number"}), "bb", "special_category") is ALLOW


def test_a_row_covers_nothing_while_it_is_not_known_whether_an_excepted_tag_holds() -> None:
    of = edges({"to": "bb", "tags_except": "bank"})
    assert asked(of) is ALLOW
    assert crossing(law(of, sectors=None), "aa", "bb").answer is UNKNOWN
    assert crossing(law(of, sectors=("bank",)), "aa", "bb").answer is UNKNOWN


def test_a_sector_that_data_carries_is_known_to_hold_whatever_is_declared() -> None:
    of = edges(
        {"to": "bb", "tags_except": "bank"},
        {"to": "group:bb", "tags_only": "bank"},
        groups=[{"group": "bb", "member": "bb"}],
    )
    assert crossing(law(of, sectors=None), "aa", "bb", "bank").answer is ALLOW
    assert crossing(law(of, sectors=None), "aa", "bb").answer is UNKNOWN


def test_a_row_for_some_tags_covers_these_and_never_the_data_as_such() -> None:
    only = {"to": "bb", "tags_only": "health"}
    assert asked(edges(only), "bb", "health") is UNKNOWN
    of = edges(only, {"to": "group:bb", "tags_except": "health"}, groups=[{"group": "bb", "member": "bb"}])
    assert asked(of, "bb", "health") is ALLOW
    assert asked(of, "bb", "health", "number") is ALLOW


def test_a_row_for_special_tags_covers_what_the_sender_lists() -> None:
    of = pack(
        edges=[{"from": "aa", "to": "bb", "tags_only": "special_category"}],
        gateways=[{"from": "aa", "to": "bb", "requirement": "none", "tags_except": "special_category"}],
        special_categories=[{"jurisdiction": "aa", "tag": "health"}],
    )
    assert asked(of, "bb", "health") is ALLOW
    assert asked(of, "bb", "special_category") is ALLOW


def test_a_declared_sector_has_to_be_covered_like_a_tag() -> None:
    of = gateways({"requirement": "scc"})
    assert crossing(law(of, shown("aa", "*", "scc"), sectors=("bank",)), "aa", "bb").answer is DENY
    assert crossing(law(of, shown("aa", "*", "scc", "bank"), sectors=("bank",)), "aa", "bb").answer is WITH


def test_undeclared_sectors_ask_for_an_instrument_that_covers_everything() -> None:
    of = gateways({"requirement": "scc"})
    narrow, wide = shown("aa", "*", "scc", "bank"), shown("aa", "*", "scc", "*")
    assert crossing(law(of, narrow, sectors=None), "aa", "bb").answer is UNKNOWN
    assert crossing(law(of, wide, sectors=None), "aa", "bb").answer is WITH
    assert crossing(law(of, sectors=None), "aa", "bb").answer is DENY
    assert crossing(law(edges({"to": "bb"}), sectors=None), "aa", "bb").answer is ALLOW


def test_requirements_of_one_alternative_are_all_needed() -> None:
    of = gateways({"requirement": "scc"}, {"requirement": "impact_assessment"})
    scc, assessed = shown("aa", "bb", "scc"), shown("aa", "bb", "impact_assessment")
    assert crossing(law(of, scc), "aa", "bb").answer is DENY
    found = crossing(law(of, scc, assessed), "aa", "bb")
    assert found.answer is WITH
    assert [reason.instruments for reason in found.reasons] == [("aa-bb-scc",), ("aa-bb-impact_assessment",)]


def test_any_alternative_will_do() -> None:
    of = gateways({"requirement": "scc"}, {"requirement": "consent", "alternative": "2"})
    assert crossing(law(of, shown("aa", "bb", "consent")), "aa", "bb").answer is WITH


def test_rows_of_an_alternative_that_do_not_count_on_the_day_are_not_asked_for() -> None:
    of = gateways({"requirement": "scc"}, {"requirement": "consent", "since": "2030-01-01"})
    held = law(of, shown("aa", "bb", "scc"))
    assert crossing(held, "aa", "bb").answer is WITH
    assert crossing(held, "aa", "bb", at=day("2030-01-01")).answer is DENY
    assert crossing(held, "aa", "bb").valid_until == day("2030-01-01")


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        ({}, WITH),
        ({"to": "*"}, WITH),
        ({"to": "bb"}, WITH),
        ({"to": "cc"}, DENY),
        ({"to": "bb-s"}, DENY),
        ({"origin": "cc"}, DENY),
        ({"gateway": "bcr"}, DENY),
        ({"since": day("2026-11-22")}, DENY),
        ({"until": day("2026-11-20")}, DENY),
        ({"until": TODAY, "since": TODAY}, WITH),
        ({"detail": "filed"}, WITH),
        ({"detail": "signed"}, DENY),
    ],
)
def test_evidence_is_from_the_sender_to_the_place_for_the_requirement_on_the_day(more: Any, answer: Answer) -> None:
    of = gateways({"requirement": "scc", "detail_tag": "filed"})
    instrument = shown(**({"origin": "aa", "to": "bb-p", "gateway": "scc"} | more))
    assert crossing(law(of, instrument), "aa", "bb-p").answer is answer


def test_a_stated_detail_serves_no_row_that_asks_for_none() -> None:
    held = shown("aa", "bb", "scc", detail="filed")
    assert crossing(law(gateways({"requirement": "scc"}), held), "aa", "bb").answer is DENY


@pytest.mark.parametrize(("covered", "answer"), [((), DENY), (("health",), WITH), (("*",), WITH), (("number",), DENY)])
def test_an_instrument_covers_the_data_as_such_and_the_tags_that_it_lists(covered: Any, answer: Answer) -> None:
    of = law(gateways({"requirement": "scc"}), shown("aa", "bb", "scc", *covered))
    assert crossing(of, "aa", "bb").answer is WITH
    assert crossing(of, "aa", "bb", "health").answer is answer


def test_different_instruments_may_cover_different_items() -> None:
    of = law(gateways({"requirement": "scc"}), shown("aa", "bb", "scc"), shown("aa", "*", "scc", "health"))
    assert crossing(of, "aa", "bb", "health").answer is WITH


RANGES: Rows = [
    {"id": "few", "jurisdiction": "aa", "tag": "health", "min": "0", "max": "10"},
    {"id": "some", "jurisdiction": "aa", "tag": "health", "min": "10", "max": "100"},
    {"id": "poor", "jurisdiction": "aa", "tag": "money", "min": "0", "max": "5"},
]


@pytest.mark.parametrize(
    ("counts", "answer"),
    [
        ({"aa/health": 9, "aa/money": 4}, ALLOW),
        ({"aa/health": 10, "aa/money": 4}, ALLOW),
        ({"aa/health": 99, "aa/money": 0}, ALLOW),
        ({"aa/health": 100, "aa/money": 4}, UNKNOWN),
        ({"aa/health": 9, "aa/money": 5}, UNKNOWN),
        ({"aa/health": 9}, UNKNOWN),
        ({}, UNKNOWN),
    ],
)
def test_ranges_of_one_tag_are_alternatives_and_of_different_tags_all_needed(counts: Any, answer: Answer) -> None:
    of = gateways({"requirement": "none", "threshold_id": "few;some;poor"}, thresholds=RANGES)
    assert crossing(law(of, counts=counts), "aa", "bb").answer is answer


def test_a_range_whose_row_does_not_count_fits_nobody_but_leaves_its_neighbours() -> None:
    ranges = [RANGES[0], RANGES[1] | {"profile": "common"}]
    of = gateways({"requirement": "none", "threshold_id": "few;some"}, thresholds=ranges)
    answers = [crossing(law(of, counts={"aa/health": n}), "aa", "bb").answer for n in (9, 50)]
    assert answers == [ALLOW, UNKNOWN]


def test_an_open_way_is_preferred_to_evidence() -> None:
    of = pack(
        edges=[{"from": "aa", "to": "bb"}],
        gateways=[{"from": "aa", "to": "*", "requirement": "scc"}],
        obligations=[{"jurisdiction": "aa", "trigger": "standard_contract_signed"}],
    )
    found = crossing(law(of, shown("aa", "bb", "scc")), "aa", "bb")
    assert (found.answer, found.duties) == (ALLOW, ())


def test_a_denial_for_want_of_evidence_says_what_each_alternative_lacks() -> None:
    of = gateways(
        {"requirement": "scc"},
        {"requirement": "impact_assessment"},
        {"requirement": "consent", "alternative": "2", "tags_only": "health"},
    )
    found = crossing(law(of, shown("aa", "bb", "scc")), "aa", "bb", "health")
    assert found.answer is DENY
    assert [(one.requirements, one.items, one.row.name) for one in found.lacks] == [
        (("scc", "impact_assessment"), ("health",), "aa -> * #1 scc"),
        (("consent",), ("health",), "aa -> * #2 consent"),
    ]
    assert {(one.regime, one.to) for one in found.lacks} == {("aa", "bb")}


def test_what_the_lacks_name_would_allow_it() -> None:
    of = gateways({"requirement": "scc"}, {"requirement": "impact_assessment"})
    lack: Lack = crossing(law(of), "aa", "bb", "health").lacks[0]
    filed = [shown(lack.regime, lack.to, one, *lack.items) for one in lack.requirements]
    assert crossing(law(of, *filed), "aa", "bb", "health").answer is WITH


def test_what_no_alternative_could_cover_is_unknown_and_not_for_want_of_evidence() -> None:
    of = gateways({"requirement": "scc", "tags_except": "health"})
    found = crossing(law(of), "aa", "bb", "health")
    assert (found.answer, found.lacks) == (UNKNOWN, ())


def test_alternatives_that_are_closed_otherwise_do_not_count_as_lacking_evidence() -> None:
    assert asked(gateways({"requirement": "scc", "recipient_class": "sworn"})) is UNKNOWN
    assert asked(gateways({"requirement": "scc", "since": "2030-01-01"})) is UNKNOWN
    assert asked(gateways({"requirement": "scc", "threshold_id": "few"}, thresholds=RANGES[:1])) is UNKNOWN


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


def duties(found: Finding) -> list[str]:
    return [duty.trigger for duty in found.duties]


def owing(trigger: str, **tables: Rows) -> Pack:
    return pack(obligations=[{"jurisdiction": "aa", "trigger": trigger}], **tables)


OPEN: Rows = [{"from": "aa", "to": "*"}]


@pytest.mark.parametrize(
    "trigger",
    [
        "transfer_planned",
        "first_transfer",
        "foreign_processing",
        "foreign_provider_used",
        "disclosure_to_provider_or_third_party",
    ],
)
def test_duties_of_every_transfer_come_with_a_yes_and_make_it_conditional(trigger: str) -> None:
    found = crossing(law(owing(trigger, edges=OPEN)), "aa", "bb")
    assert (found.answer, duties(found)) == (WITH, [trigger])
    assert found.duties[0].row.name == f"aa: {trigger} do"


def test_duties_of_other_events_and_of_refused_transfers_do_not_come_out() -> None:
    assert crossing(law(owing("breach_known", edges=OPEN)), "aa", "bb").answer is ALLOW
    assert crossing(law(owing("transfer_planned")), "aa", "bb").duties == ()
    assert crossing(law(owing("transfer_planned")), "aa", "aa").duties == ()


def test_a_duty_for_special_data_comes_with_special_data() -> None:
    of = owing(
        "special_category_transfer_planned", edges=OPEN, special_categories=[{"jurisdiction": "aa", "tag": "health"}]
    )
    answers = [asked(of, "bb", *tags) for tags in ((), ("number",), ("health",), ("special_category",))]
    assert answers == [ALLOW, ALLOW, WITH, WITH]


@pytest.mark.parametrize(
    ("trigger", "gateway", "detail", "comes"),
    [
        ("transfer_by_scc_or_bcr", "scc", "", True),
        ("transfer_by_scc_or_bcr", "bcr", "", True),
        ("transfer_by_scc_or_bcr", "consent", "", False),
        ("standard_contract_signed", "scc", "", True),
        ("standard_contract_signed", "bcr", "", False),
        ("equivalent_measures_transfer", "contract", "equivalent_measures", True),
        ("equivalent_measures_transfer", "contract", "written", False),
    ],
)
def test_a_duty_of_a_ground_comes_when_it_is_relied_on(trigger: str, gateway: str, detail: str, comes: bool) -> None:
    asking = {"from": "aa", "to": "*", "requirement": gateway, "detail_tag": detail}
    of = owing(trigger, gateways=[asking])
    assert duties(crossing(law(of, shown("aa", "*", gateway)), "aa", "bb")) == [trigger] * comes


def test_the_first_satisfied_alternative_is_relied_on_by_destination_then_number() -> None:
    of = owing(
        "standard_contract_signed",
        gateways=[
            {"from": "aa", "to": "bb", "requirement": "scc"},
            {"from": "aa", "to": "*", "alternative": "2", "requirement": "consent"},
        ],
    )
    assert duties(crossing(law(of, shown("aa", "bb", "scc"), shown("aa", "*", "consent")), "aa", "bb")) == []
    assert duties(crossing(law(of, shown("aa", "bb", "scc")), "aa", "bb")) == ["standard_contract_signed"]


def test_a_duty_towards_places_not_adequate_comes_when_no_edge_covers_something() -> None:
    free = {"from": "aa", "to": "*", "requirement": "none"}
    assert asked(owing("transfer_to_non_adequate", edges=OPEN, gateways=[free])) is ALLOW
    assert asked(owing("transfer_to_non_adequate", gateways=[free])) is WITH


def test_a_duty_towards_the_union_comes_for_it_and_its_parts() -> None:
    union = {"id": "eu", "kind": "bloc", "countries": "DE"}
    part = {"id": "eu-de", "kind": "subdivision", "parent": "eu", "countries": "DE"}
    of = made(A, B, union, part, edges=OPEN, obligations=[{"jurisdiction": "aa", "trigger": "transfer_to_eu"}])
    assert [asked(of, where) for where in ("bb", "eu", "eu-de")] == [ALLOW, WITH, WITH]


def test_duties_of_payments_and_sales_come_with_these() -> None:
    assert asked(owing("payment_processed_abroad", edges=OPEN), "bb", "payments") is WITH
    assert asked(owing("payment_processed_abroad", edges=OPEN)) is ALLOW
    of = owing("sale_of_consumer_health", edges=OPEN)
    assert asked(of, "bb", "wellness", purpose="sale") is WITH
    assert asked(of, "bb", "number", purpose="sale") is ALLOW
    assert asked(of, "bb", "wellness") is ALLOW
    assert asked(owing("data_brokerage_to_foreign_person", edges=OPEN), purpose="sale") is WITH
    assert asked(owing("data_brokerage_to_foreign_person", edges=OPEN)) is ALLOW


@pytest.mark.parametrize(("counts", "answer"), [({}, WITH), ({"aa/health": 99}, ALLOW), ({"aa/health": 100}, WITH)])
def test_a_duty_of_a_threshold_comes_when_it_may_be_reached(counts: dict[str, int], answer: Answer) -> None:
    of = owing("threshold_many", edges=OPEN, thresholds=[THRESHOLD])
    assert crossing(law(of, counts=counts), "aa", "bb").answer is answer


def test_duties_of_all_regimes_are_united() -> None:
    of = pack(
        edges=[*OPEN, {"from": "cc", "to": "*"}],
        obligations=[{"jurisdiction": one, "trigger": "transfer_planned"} for one in ("aa", "cc")],
    )
    assert [duty.regime for duty in crossing(law(of), "aa cc", "bb").duties] == ["aa", "cc"]


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
