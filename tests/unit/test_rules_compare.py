"""Two rules differ in what they decide, not in how they are written; a difference is told once for all whom it meets."""

import datetime

import pytest

from foundation.words import Country, JurisdictionId, ServiceId
from routing_rules.compare import Change, differences, rewritten, standing
from routing_rules.rules import load
from tests.stands.rules import POLICY, TODAY, policy_with

ORDERS = ServiceId("orders")


def changes(before: str, after: str, at: datetime.date = TODAY, service: str = "orders") -> list[Change]:
    return [change for change in differences(load(before), load(after), at) if change.service == service]


def test_rules_that_are_written_differently_and_decide_alike_differ_in_nothing() -> None:
    assert differences(load(POLICY), load(f"# a remark\n{POLICY}"), TODAY) == ()


def test_a_regime_that_is_served_no_more_is_one_change_with_its_countries() -> None:
    after = policy_with(('serves = ["eu", "uk", "ch"]', 'serves = ["eu", "uk"]'))
    (change,) = changes(POLICY, after)
    assert (change.regime, change.countries, change.where) == ("ch", ("CH",), "home")
    assert (change.before, change.after) == ("served by eu-de", "refused (no_cell_allowed)")
    assert "ch" in change.ground


def test_a_whole_bloc_is_one_change() -> None:
    after = policy_with(('serves = ["us"]', 'serves = ["us", "eu"]'))
    moved = [change for change in changes(POLICY, after) if change.where == "home"]
    assert len(moved) == 1
    assert (moved[0].regime, len(moved[0].countries)) == ("eu", 38)
    assert moved[0].after == "served by eu-de, us-va"


@pytest.mark.parametrize(("travel", "word"), [("home", "sent home"), ("refuse", "refused (residency_refused)")])
def test_what_becomes_of_travellers_is_told_by_the_region_they_are_in(travel: str, word: str) -> None:
    after = policy_with(('"eu->us" = "hairpin"', f'"eu->us" = "{travel}"'))
    (change,) = changes(POLICY, after)
    assert (change.regime, change.where, change.before, change.after) == ("eu", "in us", "carried home", word)


def test_a_day_on_which_papers_have_ended_makes_a_difference_that_today_does_not() -> None:
    after = policy_with(("until = 2029-02-28", "until = 2028-02-28"))
    assert changes(POLICY, after) == []
    assert {change.where for change in changes(POLICY, after, datetime.date(2028, 3, 1))} == {"in us"}


def test_a_service_that_comes_or_goes_is_told_for_everybody() -> None:
    hosts = '{ eu-de = ["127.0.0.1:7990"], us-va = [], in-mum = [] }'
    table = f'[services.more]\npurpose = "service"\nhosts = {hosts}\n\n'
    more = policy_with(("[actors.support-desk]", f"{table}[actors.support-desk]"))
    came = changes(POLICY, more, service="more")
    assert {change.before for change in came} == {"no such service"}
    assert sum(len(change.countries) for change in came) == 249


@pytest.mark.parametrize("country", ["DE", "FR", "GB", "US", "PR", "IN", "CL", "AF", "KW", "IR", "CA", "RU"])
def test_one_country_of_a_regime_answers_for_all_of_them(country: str) -> None:
    """What `differences` rests on when it asks each group once: the told change is what each country's own standing shows."""
    before, after = (
        load(POLICY),
        load(policy_with(('"eu->us" = "hairpin"', '"eu->us" = "home"'), ('serves = ["us"]', 'serves = ["us", "ca"]'))),
    )
    told = [
        change
        for change in differences(before, after, TODAY)
        if country in change.countries and change.service == ORDERS
    ]
    was, is_now = (standing(rules, Country(country), ORDERS, TODAY) for rules in (before, after))
    assert bool(told) == ((was.home, was.away) != (is_now.home, is_now.away))
    assert all(change.regime == before.pack.owners[Country(country)] for change in told)


def test_the_default_regime_is_named_where_no_row_owns_a_country() -> None:
    assert load(POLICY).pack.owners.get(Country("AF")) == JurisdictionId("default")


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        (("stale_s_max = 600", "stale_s_max = 700"), ("product.stale_s_max",)),
        (('verbs = ["read"]\n\n[[instr', 'verbs = ["write"]\n\n[[instr'), ("actors.support-desk.verbs",)),
        (('ref = "DEMO-SCC-EU-US"', 'ref = "OTHER"'), ("instruments",)),
        (("[operator] ", "# a remark\n[operator] "), ()),
    ],
)
def test_keys_that_change_no_answer_asked_here_are_named_all_the_same(
    change: tuple[str, str], keys: tuple[str, ...]
) -> None:
    before, after = load(POLICY), load(policy_with(change))
    assert differences(before, after, TODAY) == ()
    assert rewritten(before, after) == keys
