"""`place`: only cells that serve a known law and that the law lets hold the data; refused with what would allow one."""

import datetime

import pytest

from foundation.problems import Code
from foundation.words import Country
from routing_rules.facts import PlaceFacts, SubjectFacts
from routing_rules.place import place
from routing_rules.rules import Rules, load
from routing_rules.verdicts import Allowed, NoCell
from tests.stands.rules import POLICY, TODAY, person, policy_with, rules, small_pack

SERVES_EU = 'serves = ["eu", "uk", "ch"]'


def allowed(country: str, found: Rules | None = None, **more: object) -> Allowed:
    answer = place(person(country, **more), found or rules(), TODAY)  # type: ignore[arg-type]
    assert isinstance(answer, Allowed), answer
    return answer


def no_cell(country: str, found: Rules | None = None, at: datetime.date = TODAY, **more: object) -> NoCell:
    answer = place(person(country, **more), found or rules(), at)  # type: ignore[arg-type]
    assert isinstance(answer, NoCell), answer
    assert answer.code is Code.NO_CELL_ALLOWED
    return answer


def serving(*more: str) -> Rules:
    """The stack's rules with Frankfurt serving more regimes."""
    listed = ", ".join(f'"{one}"' for one in ("eu", "uk", "ch", *more))
    return load(policy_with((SERVES_EU, f"serves = [{listed}]")))


@pytest.mark.parametrize(
    ("country", "regimes", "cell", "ground"),
    [
        ("DE", ("eu", "eu-de"), "eu-de", "nothing leaves eu"),
        ("NO", ("eu",), "eu-de", "nothing leaves eu"),
        ("GP", ("eu",), "eu-de", "nothing leaves eu"),
        ("GB", ("uk",), "eu-de", "uk -> eu"),
        ("CH", ("ch",), "eu-de", "ch -> eu"),
        ("PR", ("us",), "us-va", "nothing leaves us"),
        ("IN", ("in",), "in-mum", "nothing leaves in"),
    ],
)
def test_a_person_is_placed_where_their_law_is_served(
    country: str, regimes: tuple[str, ...], cell: str, ground: str
) -> None:
    answer = allowed(country)
    assert (answer.regimes, answer.cells, answer.digest) == (regimes, (cell,), rules().digest)
    assert ground in answer.ground


def test_an_unstated_part_of_a_country_is_under_every_part_that_is_known() -> None:
    unstated = allowed("US").regimes
    assert {"us", "us-ca", "us-tx", "us-il"} <= set(unstated)
    assert "us-ok" not in unstated  # enacted, from 2027
    assert allowed("US", subdivision="US-TX").regimes == ("us", "us-tx")
    assert allowed("US", subdivision="US-AK").regimes == ("us",)
    common = load(policy_with(('profile = "cautious"', 'profile = "common"')))
    assert allowed("US", common).regimes == ("us",)


def test_a_known_law_that_no_cell_serves_has_no_cell() -> None:
    assert no_cell("JP").ground == "policy: no cell serves jp"


@pytest.mark.parametrize("country", ["AQ", "IR", "KP", "XX", "de", "", "D\x00", "\ud800"])
def test_a_country_of_which_nothing_is_known_has_no_cell(country: str) -> None:
    assert no_cell(country).ground.startswith("unknown: ")


def test_serving_alone_opens_nothing_that_the_law_closes() -> None:
    answer = no_cell("RU", serving("ru"))
    assert answer.ground.startswith("eu-de: deny: ")
    assert "ru" in answer.ground


def test_a_refusal_names_the_instruments_that_would_allow_a_cell_and_they_do() -> None:
    closed = no_cell("ZA", serving("za"), tags=("health",))
    assert closed.lacks, closed.ground
    cell, lack = closed.lacks[0]
    assert (cell, lack.regime) == ("eu-de", "za")
    text = policy_with((SERVES_EU, 'serves = ["eu", "uk", "ch", "za"]'))
    for requirement in lack.requirements:
        text += f'''
[[instruments]]
from = "za"
to = "{lack.to}"
gateway = "{requirement}"
ref = "T-{requirement}"
tags = ["*"]
since = 2026-01-01
until = 2027-12-31
'''
    assert allowed("ZA", load(text), tags=("health",)).cells == ("eu-de",)


def test_payments_stay_in_india() -> None:
    assert allowed("IN", tags=("payments",)).cells == ("in-mum",)
    both = serving("in")
    assert allowed("IN", both).cells == ("eu-de", "in-mum")
    assert allowed("IN", both, tags=("payments",)).cells == ("in-mum",)


def test_a_tag_of_the_service_binds_like_one_of_the_person() -> None:
    tagged = ('purpose = "service"\nanonymous', 'purpose = "service"\ntags = ["payments"]\nanonymous')
    found = load(policy_with((SERVES_EU, 'serves = ["eu", "uk", "ch", "in"]'), tagged))
    assert allowed("IN", found).cells == ("in-mum",)


def test_tags_and_terms_that_nothing_declares_have_no_cell() -> None:
    assert "no tag 'paymentz'; did you mean payments?" in no_cell("IN", tags=("paymentz",)).ground
    assert "no terms 'gold'" in no_cell("IN", terms="gold").ground


def test_terms_narrow_the_cells_and_never_widen_them() -> None:
    both = policy_with((SERVES_EU, 'serves = ["eu", "uk", "ch", "in"]'))
    text = both + '\n[terms.frankfurt]\ncells = ["eu-de"]\n[terms.virginia]\ncells = ["us-va"]\n'
    assert allowed("IN", load(text), terms="frankfurt").cells == ("eu-de",)
    assert "terms.virginia.cells does not name it" in no_cell("IN", load(text), terms="virginia").ground


def test_a_citizen_of_russia_is_kept_in_russia_wherever_resident() -> None:
    assert "ru" in no_cell("DE", citizenships=(Country("RU"),)).ground
    asked = load(policy_with(('citizenship = "residence"', 'citizenship = "asked"')))
    assert "unknown" in no_cell("DE", asked).ground
    assert allowed("DE", asked, citizenships=(Country("DE"),)).cells == ("eu-de",)


def test_an_observed_country_raises_a_question_and_changes_nothing_else() -> None:
    subject = SubjectFacts(residence=Country("DE"))
    plain = PlaceFacts(subject=subject, services=person().services)
    seen = PlaceFacts(subject=subject, services=person().services, observed=Country("RU"))
    before, after = place(plain, rules(), TODAY), place(seen, rules(), TODAY)
    assert isinstance(before, Allowed)
    assert isinstance(after, Allowed)
    assert (before.questions, after.questions) == ((), ("residence_observed_elsewhere",))
    assert (before.cells, before.regimes, before.ground) == (after.cells, after.regimes, after.ground)


def test_a_verified_residence_decides_and_the_declared_one_is_asked_about() -> None:
    facts = PlaceFacts(
        subject=SubjectFacts(residence=Country("IN")), services=person().services, declared=Country("DE")
    )
    answer = place(facts, rules(), TODAY)
    assert isinstance(answer, Allowed)
    assert (answer.cells, answer.questions) == (("in-mum",), ("residence_verified_otherwise",))


def test_a_law_that_is_enacted_counts_from_its_start() -> None:
    served = load(policy_with(('serves = ["us"]', 'serves = ["us", "cl"]')))
    before = no_cell("CL", served)
    assert before.valid_until == datetime.date(2026, 12, 1)
    assert before.ground.startswith("unknown: ")
    after = place(person("CL"), served, datetime.date(2026, 12, 1))
    assert "unknown" not in after.ground


def test_a_law_that_is_enacted_without_a_start_never_counts() -> None:
    served = load(policy_with(('serves = ["in"]', 'serves = ["in", "lk"]')))
    assert no_cell("LK", served, datetime.date(2999, 1, 1)).ground.startswith("unknown: ")


@pytest.mark.parametrize("status", ["promised", "disputed"])
def test_promised_and_disputed_jurisdictions_never_count(status: str) -> None:
    pack = small_pack({"id": "in", "countries": "IN", "status": status})
    assert no_cell("IN", load(POLICY, pack)).ground.startswith("unknown: ")


def test_a_repealed_row_counts_inside_its_dates_only() -> None:
    row = {"id": "in", "countries": "IN", "status": "repealed", "until": "2026-01-31"}
    found = load(POLICY, small_pack(row))
    inside = place(person("IN"), found, datetime.date(2026, 1, 31))
    assert isinstance(inside, Allowed)
    assert inside.valid_until == datetime.date(2026, 2, 1)
    no_cell("IN", found, datetime.date(2026, 2, 1))


def test_a_row_of_the_other_profile_does_not_count() -> None:
    pack = small_pack({"id": "in", "countries": "IN", "profile": "common"})
    assert no_cell("IN", load(POLICY, pack)).ground.startswith("unknown: ")
    allowed("IN", load(policy_with(('profile = "cautious"', 'profile = "common"')), pack))


def test_services_that_policy_does_not_declare_have_no_cell() -> None:
    assert "no service 'billing'" in no_cell("DE", services=("orders", "billing")).ground
    assert "for no service" in no_cell("DE", services=()).ground


def test_every_service_of_the_placement_must_run_in_the_cell() -> None:
    found = load(policy_with(('eu-de = ["127.0.0.1:7000"]', "eu-de = []")))
    assert "eu-de: does not run all of records, orders" in no_cell("DE", found, services=("records", "orders")).ground
    assert isinstance(place(person("DE", ("records",)), found, TODAY), Allowed)
