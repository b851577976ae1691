"""The engine and the oracle side by side. A disagreement comes out as Python that can be pasted into a test."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import routing_rules.pack
from foundation.words import Country
from routing_rules.facts import SubjectFacts
from routing_rules.law import Law
from routing_rules.law.questions import Finding, TransferQuestion
from tests.oracle.ask import Asker, Case
from tests.oracle.crossing import transfer
from tests.oracle.engine import law_of
from tests.oracle.keeping import storage
from tests.oracle.naive import Oracle
from tests.oracle.tables import Tables, read

PER_WORLD = 50
"""Questions to each world: making a world's law costs as much as some hundred questions."""


def bundled_tables() -> Tables:
    return read(Path(routing_rules.pack.__file__).parent)


def cases(tables: Tables, seed: int, number: int) -> Iterator[Case]:
    """`number` questions of this seed, those of one world one after the other."""
    asker = Asker(tables, random.Random(seed))
    for start in range(0, number, PER_WORLD):
        focus = asker.focus()
        world = asker.world(focus)
        for _ in range(min(PER_WORLD, number - start)):
            yield asker.case(world, focus)


def disagreements(tables: Tables, seed: int, number: int, most: int = 5) -> tuple[list[str], Counter[str]]:
    """The first disagreements, and how often each answer fell."""
    found: list[str] = []
    seen: Counter[str] = Counter()
    world, law = None, None
    for case in cases(tables, seed, number):
        if law is None or case.world is not world:
            world, law = case.world, law_of(case.world)
        expected, got = answers(tables, case, law)
        seen[f"{type(case.question).__name__} {got[0]}"] += 1
        if expected != got:
            found.append(shown(case, expected, got))
        if len(found) >= most:
            break
    return found, seen


def answers(tables: Tables, case: Case, law: Law) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """What the oracle says and what the engine says, in one form: answer, obligations where it allows, what a deny lacks."""
    oracle = Oracle(tables, case.world, case.at)
    if not isinstance(case.question, TransferQuestion):
        return (storage(oracle, case.question), (), ()), (law.storage(case.question, case.at).answer.value, (), ())
    told = transfer(oracle, case.question)
    finding = law.transfer(case.question, case.at)
    return (
        (
            told.answer,
            tuple(sorted(told.obligations if told.answer.startswith("allow") else ())),
            tuple(sorted(told.lacking if told.answer == "deny" else ())),
        ),
        (finding.answer.value, tuple(sorted(duties(finding))), tuple(sorted(lacks(finding)))),
    )


def duties(finding: Finding) -> set[tuple[str, str, str]]:
    return {(duty.regime, duty.trigger, duty.action) for duty in finding.duties} if finding.answer.allows else set()


def lacks(finding: Finding) -> set[tuple[str, str]]:
    if finding.answer.value != "deny":
        return set()
    return {(lack.regime, requirement) for lack in finding.lacks for requirement in lack.requirements}


def shown(case: Case, expected: object, got: object) -> str:
    return (
        f"\nworld = {case.world!r}\nquestion = {case.question!r}\nat = {case.at!r}\n"
        f"# docs/evaluation.md by the oracle: {expected!r}\n# the engine: {got!r}\n"
    )


def regimes_disagreement(tables: Tables, law: Law, case: Case, country: str, part: str | None) -> str | None:
    told = Oracle(tables, case.world, case.at).regimes(country, part)
    found = law.regimes_of(SubjectFacts(residence=Country(country), subdivision=part), case.at)
    if (bool(told.open), told.regimes or frozenset(found.ids)) == (
        found.unknown is not None,
        frozenset(found.ids),
    ):
        return None
    return f"\nworld = {case.world!r}\ncountry, part, at = {country!r}, {part!r}, {case.at!r}\n# oracle: {told}\n# engine: {found}\n"
