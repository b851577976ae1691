"""The law, section 5 of its page: may it be kept and handled there?"""

from typing import Any

import pytest

from routing_rules.law.questions import Answer, Effect
from routing_rules.pack import Pack
from tests.stands.law import Rows, day, keeping, law, made, rows_named, shown

A = {"id": "aa", "countries": "FR"}
B = {"id": "bb", "kind": "bloc", "countries": "GB;LI"}
C = {"id": "cc", "countries": "CH"}
PART = {"id": "bb-p", "kind": "subdivision", "parent": "bb", "subdivisions": "GB-P"}
SCHEME = {"id": "bb-s", "kind": "scheme", "parent": "bb"}
TAGS: Rows = [
    {"tag": "special_category"},
    {"tag": "health"},
    {"tag": "money", "may_be": "number"},
    {"tag": "number"},
    {"tag": "bank", "kind": "sector"},
]
ALLOW, DENY, UNKNOWN = Answer.ALLOW, Answer.DENY, Answer.UNKNOWN


def pack(*rows: dict[str, str], **tables: Rows) -> Pack:
    storage = [{"jurisdiction": "aa", "tag": "*", "rule": "local_only"} | row for row in rows]
    return made(A, B, C, PART, SCHEME, **({"tags": TAGS, "storage": storage} | tables))


def asked(of: Pack, primary: str, *tags: str, regimes: str = "aa", **more: Any) -> Answer:
    return keeping(law(of), regimes, primary, *tags, **more).answer


def test_without_a_rule_that_applies_it_may_lie_anywhere() -> None:
    found = keeping(law(pack()), "aa", "cc")
    assert found.answer is ALLOW
    assert found.ground == "aa: its general storage rule is free"


@pytest.mark.parametrize("rule", ["unknown", ""])
def test_a_general_rule_that_is_not_known_leaves_all_unknown(rule: str) -> None:
    vague = {"id": "vv", "countries": "KG", "general_storage_rule": rule}
    line = {"fact_ref": "jurisdictions.csv:vv", "field": "storage_rule", "text": "text", "why": "why"}
    other = line | {"field": "transfer_allow"}
    of = law(made(A, vague, unresolved=[other, line]))
    found = keeping(of, "aa vv", "aa")
    assert found.answer is UNKNOWN
    assert [(one.row.file, one.row.line) for one in found.reasons if one.row] == [
        ("jurisdictions", 3),
        ("unresolved", 3),
    ]


def test_parts_and_overlays_with_a_blank_use_their_parents_general_rule() -> None:
    rows = [
        {"id": "aa-p", "kind": "subdivision", "parent": "aa", "general_storage_rule": ""},
        {"id": "aa-z", "kind": "overlay", "parent": "aa", "general_storage_rule": ""},
    ]
    assert keeping(law(made(A, *rows)), "aa aa-p aa-z", "aa").answer is ALLOW
    vague = A | {"general_storage_rule": "unknown"}
    assert keeping(law(made(vague, *rows)), "aa-p", "aa").answer is UNKNOWN
    assert keeping(law(made(vague, *rows)), "aa-z", "aa").answer is UNKNOWN


@pytest.mark.parametrize("where", ["bb-s", "nowhere"])
@pytest.mark.parametrize("role", ["primary", "stores", "processes", "accesses", "copies"])
def test_schemes_and_unknown_ids_are_no_places_to_keep_anything(role: str, where: str) -> None:
    places = {"primary": "aa"} | {role: where}
    assert keeping(law(pack()), "aa", **places).answer is UNKNOWN


def test_a_rule_binds_its_tag_and_what_may_be_it() -> None:
    of = pack({"tag": "number"})
    assert [asked(of, "cc", *tags) for tags in ((), ("health",), ("number",), ("money",))] == [ALLOW, ALLOW, DENY, DENY]


def test_a_rule_for_special_data_binds_what_its_own_regime_lists() -> None:
    of = pack({"tag": "special_category"}, special_categories=[{"jurisdiction": "aa", "tag": "number"}])
    answers = [asked(of, "cc", *tags) for tags in (("health",), ("money",), ("special_category",))]
    assert answers == [ALLOW, DENY, DENY]


def test_data_special_as_such_may_be_what_a_rule_names_if_that_is_special_there() -> None:
    of = pack({"tag": "number"}, special_categories=[{"jurisdiction": "aa", "tag": "number"}])
    assert asked(of, "cc", "special_category") is DENY
    assert asked(pack({"tag": "number"}), "cc", "special_category") is ALLOW


def test_a_rule_for_a_sector_is_open_while_sectors_are_not_declared_and_matters_only_where_it_is_not_met() -> None:
    of = pack({"tag": "bank"})
    assert keeping(law(of, sectors=None), "aa", "cc").answer is UNKNOWN
    assert keeping(law(of, sectors=None), "aa", "aa").answer is ALLOW
    assert keeping(law(of, sectors=("bank",)), "aa", "cc").answer is DENY
    assert keeping(law(of, sectors=()), "aa", "cc").answer is ALLOW


def test_residence_binds_the_persons_regimes() -> None:
    of = pack({"key": "residence"})
    assert asked(of, "cc", regimes="aa") is DENY
    assert asked(of, "cc", regimes="bb", citizens="aa") is ALLOW


def test_citizenship_binds_wherever_the_person_lives_and_is_open_while_unknown() -> None:
    of = pack({"key": "citizenship"})
    assert asked(of, "cc", regimes="bb", citizens="aa") is DENY
    assert asked(of, "cc", regimes="aa", citizens="bb") is ALLOW
    assert asked(of, "cc", regimes="bb", citizens=None) is UNKNOWN
    assert asked(of, "aa", regimes="bb", citizens=None) is ALLOW
    assert "citizenships" in keeping(law(of), "bb", "cc", citizens=None).ground


def test_an_operators_rule_binds_residents_and_whoever_operates_from_there() -> None:
    of = pack({"key": "operator"})
    assert asked(of, "cc", regimes="aa") is DENY
    assert keeping(law(of, country="FR"), "bb", "cc").answer is DENY
    assert keeping(law(of, country="CH"), "bb", "cc").answer is ALLOW
    found = keeping(law(of, country=None), "bb", "cc")
    assert found.answer is UNKNOWN
    assert "operator.country" in found.ground


def test_an_operator_is_under_the_parts_of_its_country_as_a_person_without_a_stated_part() -> None:
    of = pack({"jurisdiction": "bb-p", "key": "operator", "region": "bb-p"})
    assert keeping(law(of, country="GB"), "cc", "cc").answer is DENY
    assert (
        keeping(
            law(
                of,
                country="GB",
            ),
            "cc",
            "bb-p",
        ).answer
        is ALLOW
    )
    assert keeping(law(of, profile="common", country="GB"), "cc", "cc").answer is ALLOW


def test_an_operators_regime_to_come_binds_from_its_first_day_and_bounds_the_answer() -> None:
    part = PART | {"status": "enacted", "since": "2030-01-01"}
    row = {"jurisdiction": "bb-p", "tag": "*", "rule": "local_only", "key": "operator", "region": "bb-p"}
    of = law(made(A, B, C, part, storage=[row]), country="GB")
    found = keeping(of, "cc", "cc")
    assert (found.answer, found.valid_until) == (ALLOW, day("2030-01-01"))
    assert keeping(of, "cc", "cc", at=day("2030-01-01")).answer is DENY


def test_where_data_was_collected_is_never_known_elsewhere() -> None:
    of = pack({"key": "place_of_collection"})
    assert asked(of, "cc", regimes="aa") is DENY
    assert asked(of, "cc", regimes="bb") is UNKNOWN
    assert asked(of, "aa", regimes="bb") is ALLOW


@pytest.mark.parametrize(
    ("region", "where", "answer"),
    [
        ("aa", "aa", ALLOW),
        ("bb;cc", "cc", ALLOW),
        ("bb", "bb-p", ALLOW),
        ("bb-p", "bb", DENY),
        ("bb-s", "bb", DENY),
        ("group:club", "cc", ALLOW),
        ("group:club", "bb", UNKNOWN),
        ("group:club", "aa", DENY),
        ("group:open", "aa", UNKNOWN),
        ("group:open;aa", "aa", ALLOW),
        ("group:open", "bb-p", ALLOW),
    ],
)
def test_a_region_names_ids_their_parts_and_members_of_groups_but_no_schemes(
    region: str, where: str, answer: Answer
) -> None:
    groups = [
        {"group": "club", "member": "cc"},
        {"group": "club", "member": "bb-s"},
        {"group": "open", "member": "bb", "membership_complete": "false"},
    ]
    assert asked(pack({"region": region}, groups=groups), where) is answer


def test_local_only_holds_every_place_of_the_verbs_it_names() -> None:
    of = pack({"verbs": "store"})
    assert asked(of, "aa", processes="cc", accesses="cc") is ALLOW
    assert asked(of, "aa", stores="aa cc") is DENY
    assert asked(of, "aa", copies="cc") is DENY
    assert asked(of, "cc", stores="aa") is DENY
    assert asked(pack({"verbs": "process"}), "cc", processes="aa") is ALLOW
    assert asked(pack({"verbs": "process"}), "aa", processes="aa cc") is DENY
    assert asked(pack({"verbs": "access"}), "cc", accesses="aa") is ALLOW
    assert asked(pack({"verbs": "access"}), "aa", accesses="cc") is DENY


def test_primary_local_holds_the_authoritative_row() -> None:
    of = pack({"rule": "primary_local"})
    assert asked(of, "aa", stores="aa cc", copies="cc") is ALLOW
    assert asked(of, "cc", stores="aa", copies="aa") is DENY


def test_copy_local_holds_one_copy_of_any_kind() -> None:
    of = pack({"rule": "copy_local"})
    assert asked(of, "cc") is DENY
    assert [asked(of, "aa"), asked(of, "cc", stores="cc aa"), asked(of, "cc", copies="aa")] == [ALLOW] * 3


def test_process_here_or_copy_local_holds_all_processing_or_one_copy() -> None:
    of = pack({"rule": "process_here_or_copy_local", "verbs": "store;process"})
    assert asked(of, "cc") is DENY
    assert asked(of, "cc", processes="aa") is ALLOW
    assert asked(of, "cc", processes="aa cc") is DENY
    assert asked(of, "cc", copies="aa") is ALLOW


def test_no_second_rule_opens_what_the_first_closes() -> None:
    copy = {"rule": "copy_local"}
    here = {"rule": "process_here_or_copy_local"}
    assert asked(pack(here), "cc", processes="aa") is ALLOW
    assert asked(pack(copy, here), "cc", processes="aa") is DENY


def test_regions_of_rules_that_meet_in_one_verb_intersect() -> None:
    wide, narrow = {"region": "aa;bb"}, {"region": "bb;cc", "tag": "health"}
    of = pack(wide, narrow)
    assert [asked(of, where, "health") for where in ("aa", "bb", "cc")] == [DENY, ALLOW, DENY]
    apart = pack(wide, narrow | {"verbs": "access"})
    assert asked(apart, "aa", "health", accesses="cc") is ALLOW


def test_a_copy_counts_only_where_all_regions_meet() -> None:
    of = pack({"rule": "copy_local", "region": "aa"}, {"rule": "copy_local", "region": "cc", "tag": "health"})
    found = keeping(law(of), "aa", "aa", "health", copies="cc")
    assert found.answer is DENY
    assert rows_named(found) == ["storage: aa: * copy_local", "storage: aa: health copy_local"]


def test_a_refusal_names_the_rows_that_are_not_met() -> None:
    found = keeping(law(pack({"tag": "health"}, {"region": "cc"})), "aa", "cc", "health")
    assert rows_named(found) == ["storage: aa: health local_only"]
    assert found.reasons[0].effect is Effect.FORBIDS
    assert found.reasons[0].item == "health"


@pytest.mark.parametrize(("hours", "answer"), [(0, ALLOW), (24, ALLOW), (25, DENY), (None, DENY)])
def test_what_a_row_does_not_name_may_happen_outside_for_its_hours(hours: int | None, answer: Answer) -> None:
    of = pack({"verbs": "store", "ttl_hours_abroad": "24"})
    assert asked(of, "aa", processes="aa cc", hours=hours) is answer
    assert asked(of, "aa", accesses="cc", hours=hours) is answer
    assert asked(of, "aa", hours=hours) is ALLOW


def test_a_row_without_hours_says_nothing_of_verbs_that_it_does_not_name() -> None:
    assert asked(pack({"verbs": "store"}), "aa", processes="cc", hours=None) is ALLOW


LIFTABLE = {"lifted_by": "approval;consent"}


def lifted(*instruments: Any, primary: str = "cc", **more: Any) -> Answer:
    return keeping(law(pack(LIFTABLE | more), *instruments), "aa", primary).answer


def test_a_rule_is_lifted_by_evidence_of_every_word_for_every_place_outside() -> None:
    approval, consent = shown("aa", "cc", "approval"), shown("aa", "*", "consent")
    assert lifted(approval, consent) is ALLOW
    assert lifted(approval) is DENY
    assert lifted(approval, consent, primary="bb") is DENY
    assert lifted(shown("aa", "bb", "approval"), consent, primary="bb-p") is ALLOW
    assert lifted(shown("cc", "cc", "approval"), consent) is DENY
    assert lifted(shown("aa", "cc", "approval", until=day("2026-11-20")), consent) is DENY


def test_a_rule_about_a_tag_is_lifted_by_evidence_that_covers_the_tag() -> None:
    of = pack({"tag": "health", "lifted_by": "approval"})
    answers = [
        keeping(law(of, shown("aa", "cc", "approval", *tags)), "aa", "cc", "health").answer
        for tags in ((), ("number",), ("health",), ("*",))
    ]
    assert answers == [DENY, DENY, ALLOW, ALLOW]


def test_a_rule_without_words_is_never_lifted() -> None:
    every_word = [shown("aa", "*", word, "*") for word in ("approval", "consent", "scc", "bcr")]
    assert keeping(law(pack({}), *every_word), "aa", "cc").answer is DENY


def test_a_lifted_rule_names_its_evidence() -> None:
    found = keeping(law(pack({"lifted_by": "approval"}), shown("aa", "cc", "approval")), "aa", "cc")
    assert found.reasons[0].instruments == ("aa-cc-approval",)


def test_a_refusal_that_evidence_would_lift_says_which() -> None:
    of = pack(LIFTABLE | {"tag": "health"})
    found = keeping(law(of, shown("aa", "*", "consent", "*")), "aa", "cc", "health")
    assert [(one.regime, one.to, one.requirements, one.items) for one in found.lacks] == [
        ("aa", "cc", ("approval",), ("health",))
    ]


def test_a_refusal_by_a_rule_that_nothing_lifts_names_no_evidence() -> None:
    assert keeping(law(pack(LIFTABLE, {"tag": "health"})), "aa", "cc", "health").lacks == ()


def test_rows_count_by_the_day_and_bound_the_answer_only_if_they_may_bear_on_it() -> None:
    of = law(pack({"since": "2030-01-01", "until": "2030-12-31"}, {"tag": "health", "since": "2028-01-01"}))
    answers = [keeping(of, "aa", "cc", at=day(at)).answer for at in ("2029-12-31", "2030-01-01", "2031-01-01")]
    assert answers == [ALLOW, DENY, ALLOW]
    assert keeping(of, "aa", "cc").valid_until == day("2030-01-01")
    assert keeping(of, "aa", "cc", "health").valid_until == day("2028-01-01")
    assert keeping(of, "bb", "cc").valid_until is None
    assert keeping(of, "aa", "cc", at=day("2030-05-05")).valid_until == day("2031-01-01")


def test_instruments_that_lift_and_members_of_a_region_bound_the_answer() -> None:
    held = law(pack({"lifted_by": "approval"}), shown("aa", "cc", "approval", until=day("2027-12-31")))
    assert keeping(held, "aa", "cc").valid_until == day("2028-01-01")
    member = {"group": "club", "member": "cc", "until": "2029-12-31"}
    grouped = law(pack({"region": "group:club"}, groups=[member]))
    assert keeping(grouped, "aa", "cc").valid_until == day("2030-01-01")


def test_profiles_read_different_rows() -> None:
    of = pack({"verbs": "store;process", "profile": "cautious"}, {"verbs": "store", "profile": "common"})
    assert keeping(law(of), "aa", "aa", processes="cc").answer is DENY
    assert keeping(law(of, profile="common"), "aa", "aa", processes="cc").answer is ALLOW
