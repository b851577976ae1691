"""What the rules that hold state of a load's people: which cells may be their homes, and on what ground they are carried there."""

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from foundation.words import CellId, Country, RegionId, ServiceId, Verb
from load_tests.oracle.crossings import key
from routing_rules import verdicts
from routing_rules.decide import decide
from routing_rules.facts import PlaceFacts, RequestFacts, SubjectFacts
from routing_rules.place import place
from routing_rules.rules import Rules, load

SERVICE = ServiceId("orders")


class Stated(msgspec.Struct, frozen=True, kw_only=True):
    """Cells by country of residence; grounds as of `oracle.crossings.key`. Both empty where nobody may ask for the rules."""

    allowed: dict[str, frozenset[str]] = {}
    grounds: dict[str, str] = {}


def stated(document: Mapping[str, Any], countries: Iterable[str], at: datetime.date) -> Stated:
    """Of the rules `document` of a directory, on day `at`. Where its digest is of another pack than this one's, no grounds. Pure."""
    rules = load(str(document["policy"]))
    allowed = {country: _allowed(country, rules, at) for country in countries}
    if document.get("digest") != rules.digest:
        return Stated(allowed=allowed)
    return Stated(allowed=allowed, grounds=grounds(rules, allowed, at))


def grounds(rules: Rules, allowed: Mapping[str, frozenset[str]], at: datetime.date) -> dict[str, str]:
    """Of people in the cells of `allowed`, wherever the rules let them be carried. Pure."""
    return {
        key(country, cell, region): ground
        for country, cells in allowed.items()
        for cell in cells
        for region in rules.policy.regions
        if (ground := _ground(country, cell, region, rules, at)) is not None
    }


def _allowed(country: str, rules: Rules, at: datetime.date) -> frozenset[str]:
    facts = PlaceFacts(subject=SubjectFacts(residence=Country(country)), services=(SERVICE,))
    answer = place(facts, rules, at)
    return frozenset(answer.cells) if isinstance(answer, verdicts.Allowed) else frozenset()


def _ground(country: str, cell: str, region: str, rules: Rules, at: datetime.date) -> str | None:
    """None where nobody is carried: at home, sent home, or refused."""
    verdict = decide(
        RequestFacts(
            service=SERVICE,
            verb=Verb.READ,
            ingress=RegionId(region),
            cell=CellId(cell),
            subject=SubjectFacts(residence=Country(country)),
            services=(SERVICE,),
        ),
        rules,
        at,
    )
    return verdict.ground if isinstance(verdict, verdicts.Hairpin) else None
