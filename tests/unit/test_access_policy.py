"""Policy of break-glass: each rule has a case it lets through and one it stops, and matters to one of them."""

import itertools
import re
import tomllib
from typing import Any

import pytest

from cells.breakglass import policy as rules_of
from cells.breakglass.book import Grant, Vote
from cells.breakglass.policy import HERE, RULES, AccessPolicy, Denied, Person
from cells.breakglass.steps import OnCall, Presence, Terms
from cells.breakglass.words import EngineerId, GrantId, Purpose, engineer_of
from foundation.settings import SettingsError
from foundation.words import CellId, Country

CELL = CellId("eu-de")
CASES: dict[str, Any] = tomllib.loads((HERE / "cases.toml").read_text(encoding="utf-8"))
IDS = re.findall(r'@id\("([^"]+)"\)', RULES)
ASKER = engineer_of("asker")


def person(case: dict[str, Any]) -> Person:
    home, observed, declared = (case.get(name, "DE") for name in ("home", "observed", "declared"))
    return Person(
        id=ASKER,
        roles=frozenset(case["roles"]),
        presence=Presence(
            home=Country(home),
            observed=Country(observed) if observed else None,
            declared=Country(declared),
            inside=observed == declared == "DE",
            home_inside=home == "DE",
        ),
        observed_inside=observed == "DE",
        declared_inside=declared == "DE",
    )


def grant(case: dict[str, Any]) -> Grant:
    here = Presence(home=None, observed=None, declared=None, inside=case.get("asked_inside", True), home_inside=True)
    voters = [engineer_of(name) for name in case.get("approvers", ["one"])]
    inside = case.get("inside_approval", True)
    return Grant(
        id=GrantId("0" * 32),
        engineer=ASKER if case.get("own") else engineer_of("somebody"),
        requested_at_us=0,
        terms=Terms(
            subjects=("s",), purpose=Purpose(case.get("purpose", "debugging")), ticket="T", minutes=15, reason="r"
        ),
        presence=here,
        needed=case.get("needed", 1),
        on_call=OnCall(digest="0" * 64, until_us=1) if case.get("emergency") else None,
        votes=tuple(Vote(by=one, at_us=0, inside=inside, alone=False, exceptions=()) for one in voters),
    )


def answer(action: str, case: dict[str, Any], further: str = "") -> Denied | None:
    policy, asker = AccessPolicy(CELL, further), person(case)
    if action in ("request", "request_emergency"):
        denied = policy.request(asker, Purpose.DEBUGGING, on_call=case.get("on_call", False))
        # An emergency without a proof is asked for as what it is.
        if action == "request_emergency" and not case.get("on_call"):
            return policy._ask(asker, action, {"purpose": "debugging", "on_call": False})
        return denied
    if action in ("lock", "unlock", "exempt"):
        other: EngineerId = engineer_of(case.get("person", "another"))
        return policy.upon(asker, action, other)
    if action in ("list", "report", "audit_roles", "withdraw"):
        return policy.upon(asker, action)
    return policy.about(asker, action, grant(case))


def parts() -> dict[str, str]:
    """The release's rules, by their ids."""
    return {part.split('"', 2)[1]: part for part in re.split(r"(?=@id\()", RULES) if part.startswith("@id(")}


def without(rule: str) -> str:
    """The release's rules but one."""
    assert rule in parts()
    return "".join(part for name, part in parts().items() if name != rule)


def test_every_rule_has_a_case_of_each_of_its_actions_and_no_case_is_without_a_rule() -> None:
    assert sorted(CASES) == sorted(IDS)
    assert len(set(IDS)) == RULES.count("permit (") + RULES.count("forbid (")
    for rule, part in parts().items():
        assert set(CASES[rule]) == set(re.findall(r'Action::"(\w+)"', part)), rule


@pytest.mark.parametrize(("rule", "action"), [(rule, action) for rule in IDS for action in CASES[rule]])
def test_a_rule_lets_one_case_through_and_stops_the_other_and_matters(
    rule: str, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[rule][action]
    forbids = f'@id("{rule}")\nforbid' in RULES
    assert answer(action, case["allow"]) is None
    stopped = answer(action, case["deny"])
    assert stopped is not None
    assert (rule in stopped.rules) is forbids
    monkeypatch.setattr(rules_of, "RULES", without(rule))
    if forbids:
        assert answer(action, case["deny"]) is None
    else:
        assert answer(action, case["allow"]) == Denied(())


@pytest.mark.parametrize(("observed", "declared"), list(itertools.product(("DE", "US", ""), ("DE", "US"))))
def test_the_stricter_of_observed_and_declared_counts(observed: str, declared: str) -> None:
    where = {"roles": ["engineer"], "own": True, "inside_approval": False, "observed": observed, "declared": declared}
    refused = answer("certify", where)
    assert (refused is None) is (observed == declared == "DE")


def test_further_rules_may_only_forbid() -> None:
    case = CASES["engineers-request"]["request"]
    assert answer("request", case["allow"], '\n@id("mine") forbid (principal, action, resource);') == Denied(("mine",))
    with pytest.raises(SettingsError, match="only forbid"):
        AccessPolicy(CELL, "permit (principal, action, resource);")
    with pytest.raises(SettingsError, match="only forbid"):
        AccessPolicy(CELL, "forbid (principal, action, resource); permit (principal == ?principal, action, resource);")


@pytest.mark.parametrize(
    "further",
    [
        "forbid (principal, action, resource) when { resource.colour == \"red\" };",
        "forbid (principal, action == Action::\"fly\", resource);",
        "forbid (principal, action, resource",
    ],
)  # fmt: skip
def test_rules_that_do_not_fit_the_schema_are_refused_at_the_start(further: str) -> None:
    with pytest.raises(SettingsError):
        AccessPolicy(CELL, further)


def test_a_rule_that_cannot_be_evaluated_refuses() -> None:
    overflow = 'forbid (principal, action == Action::"approve", resource) when { resource.approvals + 9223372036854775807 > 0 };'
    assert answer("approve", {"roles": ["approver"]}, overflow) == Denied(())
