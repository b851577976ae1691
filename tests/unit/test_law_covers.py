"""The law, section 4 of its page: which data a row covers."""

from tests.stands.law import crossing, law, shown
from tests.stands.law_made_up import ALLOW, DENY, UNKNOWN, WITH, asked, edges, gateways, pack


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
