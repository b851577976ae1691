"""A survey answers for every country, and tells what is weak, running out, or objected to before it bites."""

import datetime

import msgspec
import pytest

from routing_rules.pack import bundled
from routing_rules.rules import Rules, load
from routing_rules.survey import Line, survey, weakness
from tests.stands.rules import POLICY, TODAY, policy_with

OPERATOR = "sectors = []\nrecipient_classes = []\noverlays = []\ncounts = {}"


def lines(rules: Rules, service: str = "orders", at: datetime.date = TODAY) -> dict[str, Line]:
    return {line.country: line for line in survey(rules, at).lines if line.service == service}


def test_every_country_is_answered_for_every_service() -> None:
    found = survey(load(POLICY), TODAY)
    assert len({(line.country, line.service) for line in found.lines}) == len(found.lines) == 249 * 3
    assert sum(found.count(verdict) for verdict in ("placed", "refused", "unknown")) == 747
    assert all(line.ground for line in found.lines)


@pytest.mark.parametrize(
    ("country", "verdict", "ground"),
    [
        ("DE", "placed", "eu-de"),
        ("GB", "placed", "uk -> eu"),
        ("IN", "placed", "in-mum"),
        ("BR", "refused", "no cell serves br"),
        ("AF", "unknown", "nothing is known"),
        ("CL", "unknown", "2026-12-01"),
    ],
)
def test_a_line_says_placed_refused_or_unknown_and_why(country: str, verdict: str, ground: str) -> None:
    line = lines(load(POLICY))[country]
    assert line.verdict == verdict
    assert ground in line.ground


def test_an_answer_that_ends_says_when() -> None:
    assert lines(load(POLICY))["CL"].valid_until == datetime.date(2026, 12, 1)


def test_a_refusal_for_want_of_papers_names_them() -> None:
    line = lines(load(policy_with(('serves = ["us"]', 'serves = ["us", "br"]'))))["BR"]
    assert line.verdict == "refused"
    assert line.lacks == ("scc or bcr or consent from br to us-states",)


QUEBEC = (("ca-qc", "impact_assessment"), ("ca-qc", "contract"))
BC, ALBERTA = (("ca-bc", "impact_assessment"),), (("ca-ab", "accountability"), ("ca-ab", "notification"))
NATION = (("ca", "accountability"),)


def with_papers(*papers: tuple[str, str]) -> Rules:
    named = "\n".join(
        f'[[instruments]]\nfrom = "{origin}"\nto = "us"\ngateway = "{gateway}"\nref = "P"\nsince = 2026-03-01\nuntil = 2029-02-28\n'
        for origin, gateway in papers
    )
    return load(policy_with(('serves = ["us"]', 'serves = ["us", "ca"]')) + "\n" + named)


def test_papers_that_several_laws_ask_for_are_all_needed_and_named_so() -> None:
    (told,) = lines(with_papers())["CA"].lacks
    assert told.split("; and ") == [
        "accountability from ca to us-states",
        "impact_assessment + contract from ca-qc to us-states",
        "impact_assessment from ca-bc to us-states",
        "accountability + notification from ca-ab to us-states",
    ]
    every = (NATION, QUEBEC, BC, ALBERTA)
    assert lines(with_papers(*sum(every, ())))["CA"].verdict == "placed"
    for missing in every:
        rest = sum((one for one in every if one is not missing), ())
        assert lines(with_papers(*rest))["CA"].verdict == "refused"


def test_papers_that_would_not_be_enough_are_not_said_to_open_anything() -> None:
    # Russia's law wants papers for the transfer, and the data at home: no paper helps against that.
    line = lines(load(policy_with(('serves = ["us"]', 'serves = ["us", "ru"]'))))["RU"]
    assert (line.verdict, line.lacks) == ("refused", ())


def test_what_the_operator_does_not_declare_is_told_and_leaves_everything_unknown() -> None:
    found = survey(load(policy_with((OPERATOR, OPERATOR.replace("sectors = []\n", "")))), TODAY)
    assert [line.split(" ")[0] for line in found.undeclared] == ["operator.sectors"]
    assert survey(load(POLICY), TODAY).undeclared == ()
    assert found.count("placed") == 0, "it may hold important data, wherever that was collected"


@pytest.mark.parametrize(
    ("day", "days"),
    [
        (datetime.date(2028, 11, 29), None),
        (datetime.date(2028, 11, 30), 90),
        (datetime.date(2029, 2, 28), 0),
        (datetime.date(2029, 3, 1), -1),
    ],
)
def test_instruments_are_told_from_ninety_days_before_their_last(day: datetime.date, days: int | None) -> None:
    found = survey(load(POLICY), day).instruments
    assert {one.days for one in found} == (set() if days is None else {days})


def test_law_that_turns_within_half_a_year_is_told_for_served_regimes_only() -> None:
    turns = survey(load(POLICY), TODAY).turns
    assert any(turn.regimes == ("in",) and turn.day == datetime.date(2027, 5, 13) for turn in turns)
    assert not any("cl" in turn.regimes for turn in turns)
    assert all(TODAY < turn.day <= TODAY + datetime.timedelta(days=180) for turn in turns)
    with_chile = survey(load(policy_with(('serves = ["us"]', 'serves = ["us", "cl"]'))), TODAY).turns
    assert any(turn.regimes == ("cl",) and turn.starts for turn in with_chile)


def test_a_groups_member_that_leaves_is_told_for_whoever_names_the_group() -> None:
    policy = policy_with(
        ('serves = ["eu", "uk", "ch"]', 'serves = ["eu", "uk", "ch", "co"]'), ('"cautious"', '"common"')
    )
    turns = survey(load(policy), datetime.date(2031, 12, 1)).turns
    assert any(turn.row.startswith("groups.csv") and "co" in turn.regimes and not turn.starts for turn in turns)


def test_a_disputed_row_that_decided_is_told_with_its_source() -> None:
    rules = load(policy_with(('serves = ["us"]', 'serves = ["us", "bw"]')))
    used = {one.row.split(" ", 1)[1]: one for one in survey(rules, TODAY).disputed}
    assert "bw: * copy_local" in used
    assert {"disputed", "low confidence", "cautious only"} == set(used["bw: * copy_local"].why)
    assert used["bw: * copy_local"].jurisdictions == ("bw",)


def test_weakness_is_status_confidence_and_profile() -> None:
    firm = next(row for row in bundled().edges if row.name == "eu -> ch")
    assert weakness(firm) == ()
    assert weakness(msgspec.structs.replace(firm, profile="common", confidence="low")) == (
        "low confidence",
        "common only",
    )


def test_nobody_served_objects_to_the_directory_in_germany() -> None:
    assert survey(load(POLICY), TODAY).objections == ()


def test_a_directory_in_the_united_states_is_objected_to_with_row_and_remedy() -> None:
    policy = policy_with(('[directory]\ncountry = "DE"', '[directory]\ncountry = "US"'), ('from = "eu"', 'from = "uk"'))
    found = {one.regime: one for one in survey(load(policy), TODAY).objections}
    assert set(found) >= {"eu", "ch"}
    assert found["eu"].answer == "deny"
    assert "gateways.csv" in (found["eu"].row or "")
    assert any("scc" in lack for lack in found["eu"].lacks)


def test_a_mistake_in_the_pack_is_told() -> None:
    rules = load(POLICY)
    edges = (*rules.pack.edges, msgspec.structs.replace(rules.pack.edges[0], line=9999))
    broken = msgspec.structs.replace(rules, pack=msgspec.structs.replace(rules.pack, edges=edges))
    assert survey(rules, TODAY).pack_mistakes == ()
    assert any("line 9999" in line for line in survey(broken, TODAY).pack_mistakes)
