"""The law, section 4 of its page: duties that come with a transfer."""

import pytest

from routing_rules.law.questions import Answer, Finding
from routing_rules.pack import Pack
from tests.stands.law import Rows, crossing, law, made, shown
from tests.stands.law_made_up import ALLOW, THRESHOLD, WITH, A, B, asked, pack


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
