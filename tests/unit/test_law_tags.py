"""The law, section 3 of its page: which tags hold, may hold, or are special."""

import pytest

from routing_rules.law.obligations import FITS
from routing_rules.law.questions import Answer
from routing_rules.pack import Pack
from routing_rules.pack.triggers import TRANSFER_TRIGGERS
from tests.stands.law import Rows, crossing, day, keeping, law, made, rows_named, shown

A = {"id": "aa", "countries": "FR"}
B = {"id": "bb", "countries": "GB"}
PART = {"id": "aa-p", "kind": "subdivision", "parent": "aa", "countries": "FR"}
TAGS: Rows = [
    {"tag": "special_category"},
    {"tag": "health", "aliases": "medical"},
    {"tag": "consumer_health"},
    {"tag": "money", "may_be": "account"},
    {"tag": "account", "may_be": "number"},
    {"tag": "number"},
    {"tag": "bank", "kind": "sector"},
    {"tag": "state", "kind": "operator"},
    {"tag": "crowd", "kind": "volume"},
    {"tag": "general", "kind": "other"},
]


def denying(tag: str, **tables: Rows) -> Pack:
    """Everything may go from aa to bb, except what carries the tag."""
    return made(
        A,
        B,
        PART,
        tags=TAGS,
        edges=[{"from": "aa", "to": "bb"}],
        denies=[{"from": "aa", "to": "bb", "tag": tag}],
        **tables,
    )


def test_a_tag_may_be_named_by_its_alias() -> None:
    pack = denying("health")
    assert crossing(law(pack), "aa", "bb", "medical").answer is Answer.DENY
    assert crossing(law(pack), "aa", "bb", "number").answer is Answer.ALLOW


def test_a_word_that_is_no_tag_leaves_the_answer_unknown_and_is_not_repeated() -> None:
    found = crossing(law(denying("health")), "aa", "bb", "mädchenname")
    assert found.answer is Answer.UNKNOWN
    assert all("mädchenname" not in reason.what for reason in found.reasons)


def test_a_prohibition_beats_a_word_that_is_no_tag_but_missing_evidence_does_not() -> None:
    assert crossing(law(denying("health")), "aa", "bb", "health", "nonsense").answer is Answer.DENY
    asking = made(A, B, gateways=[{"from": "aa", "to": "bb", "requirement": "scc"}])
    assert crossing(law(asking), "aa", "bb").answer is Answer.DENY
    assert crossing(law(asking), "aa", "bb", "nonsense").answer is Answer.UNKNOWN


def test_a_storage_rule_beats_a_word_that_is_no_tag() -> None:
    pack = made(A, B, tags=TAGS, storage=[{"jurisdiction": "aa", "tag": "health", "rule": "local_only"}])
    assert keeping(law(pack), "aa", "bb", "health", "nonsense").answer is Answer.DENY
    assert keeping(law(pack), "aa", "bb", "nonsense").answer is Answer.UNKNOWN


@pytest.mark.parametrize("tag", ["bank", "state", "crowd"])
def test_facts_about_the_operator_hold_by_declaration_and_are_unknown_without(tag: str) -> None:
    pack = denying(tag)
    assert crossing(law(pack, sectors=(tag,)), "aa", "bb").answer is Answer.DENY
    assert crossing(law(pack, sectors=()), "aa", "bb").answer is Answer.ALLOW
    unknown = crossing(law(pack, sectors=None), "aa", "bb")
    assert unknown.answer is Answer.UNKNOWN
    assert rows_named(unknown)[0] == f"denies: aa -> bb {tag}"


def test_data_that_carries_a_sector_needs_no_declaration() -> None:
    assert crossing(law(denying("bank"), sectors=None), "aa", "bb", "bank").answer is Answer.DENY


def test_other_kinds_of_tags_do_not_hold_unless_carried() -> None:
    assert crossing(law(denying("health"), sectors=None), "aa", "bb").answer is Answer.ALLOW


@pytest.mark.parametrize("carried", ["money", "account", "number"])
def test_a_restriction_holds_for_what_data_may_be_followed_through(carried: str) -> None:
    assert crossing(law(denying("number")), "aa", "bb", carried).answer is Answer.DENY


def test_a_restriction_on_the_broader_does_not_bind_the_narrower() -> None:
    assert crossing(law(denying("money")), "aa", "bb", "number").answer is Answer.ALLOW


def test_special_means_what_the_regime_lists_or_the_word_itself() -> None:
    pack = denying("special_category", special_categories=[{"jurisdiction": "aa", "tag": "health"}])
    assert crossing(law(pack), "aa", "bb", "health").answer is Answer.DENY
    assert crossing(law(pack), "aa", "bb", "special_category").answer is Answer.DENY
    assert crossing(law(pack), "aa", "bb", "number").answer is Answer.ALLOW


def test_what_is_special_elsewhere_is_not_special_here() -> None:
    pack = denying("special_category", special_categories=[{"jurisdiction": "bb", "tag": "health"}])
    assert crossing(law(pack), "aa", "bb", "health").answer is Answer.ALLOW


def test_what_is_special_goes_by_the_day() -> None:
    special = {"jurisdiction": "aa", "tag": "health", "since": "2030-01-01", "until": "2030-12-31"}
    pack = denying("special_category", special_categories=[special])
    answers = [
        crossing(law(pack), "aa", "bb", "health", at=day(at)).answer
        for at in ("2029-12-31", "2030-01-01", "2030-12-31", "2031-01-01")
    ]
    assert answers == [Answer.ALLOW, Answer.DENY, Answer.DENY, Answer.ALLOW]
    assert crossing(law(pack), "aa", "bb", "health").valid_until == day("2030-01-01")


def test_a_part_without_special_tags_of_its_own_uses_its_parents() -> None:
    def special(*regimes: str) -> Pack:
        return made(
            A,
            B,
            PART,
            tags=TAGS,
            edges=[{"from": "aa-p", "to": "bb"}],
            denies=[{"from": "aa-p", "to": "bb", "tag": "special_category"}],
            special_categories=[{"jurisdiction": one, "tag": "health" if one == "aa" else "number"} for one in regimes],
        )

    assert crossing(law(special("aa")), "aa-p", "bb", "health").answer is Answer.DENY
    assert crossing(law(special("aa", "aa-p")), "aa-p", "bb", "health").answer is Answer.ALLOW
    assert crossing(law(special("aa", "aa-p")), "aa-p", "bb", "number").answer is Answer.DENY


def test_data_that_is_special_as_such_may_be_anything_that_is_special_there() -> None:
    pack = denying("number", special_categories=[{"jurisdiction": "aa", "tag": "account"}])
    assert crossing(law(pack), "aa", "bb", "special_category").answer is Answer.DENY
    assert crossing(law(denying("number")), "aa", "bb", "special_category").answer is Answer.ALLOW


def test_words_that_say_nothing_of_their_own_are_covered_with_the_data_as_such() -> None:
    pack = made(A, B, tags=TAGS, gateways=[{"from": "aa", "to": "bb", "requirement": "scc"}])
    of = law(pack, shown("aa", "bb", "scc"))
    assert crossing(of, "aa", "bb", "general").answer is Answer.ALLOW_WITH
    assert crossing(of, "aa", "bb", "health").answer is Answer.DENY


def test_every_trigger_of_a_transfer_is_known_here() -> None:
    assert set(FITS) == set(TRANSFER_TRIGGERS)
