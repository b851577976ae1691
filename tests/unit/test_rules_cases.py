"""Cases: the release's own hold, their citations exist, and a file that cannot be meant is refused with every mistake."""

import re
from pathlib import Path

import msgspec
import pytest

from routing_rules.cases import CaseFile, CasesError, Outcome, read, run, shipped
from routing_rules.pack import Pack, bundled
from routing_rules.pack.pack import TABLES
from routing_rules.rules import Rules, load
from tests.stands.rules import POLICY

HEAD = """
[world]
operator = { country = "DE", sectors = [], recipient_classes = [], overlays = [] }
"""
CASE = """
[[case]]
name = "one"
at = 2026-11-21
ask = "transfer"
given = { residence = "DE", to = "CH" }
expect = { answer = "allow" }
cite = "edges: eu -> ch"
"""


def asked(name: str, text: str, pack: Pack) -> tuple[Outcome, ...]:
    file = read(text, pack)
    return run(file, pack, None if file.policy is None else rules(file.policy))


def rules(policy: str) -> Rules:
    return load(shipped()[policy])


def case_files() -> dict[str, str]:
    return {name: text for name, text in shipped().items() if not name.endswith(".policy.toml")}


@pytest.mark.parametrize("name", case_files())
def test_every_case_of_the_release_is_answered_as_its_rows_say(name: str) -> None:
    outcomes = asked(name, case_files()[name], bundled())
    told = [
        f"line {one.case.line}: {one.case.name}: {one.differences} ({one.ground})"
        for one in outcomes
        if one.differences
    ]
    assert told == []


def test_the_release_ships_at_least_150_cases() -> None:
    assert sum(len(read(text, bundled()).cases) for text in case_files().values()) >= 150


def test_what_a_case_of_the_release_cites_is_a_row_or_a_section_of_the_definition() -> None:
    names = {f"{table.file}: {row.name}" for table in TABLES for row in getattr(bundled(), table.file)}
    cited = {cite for text in case_files().values() for case in read(text, bundled()).cases for cite in case.cite}
    assert {cite for cite in cited if cite not in names and not cite.startswith("evaluation: ")} == set()
    assert sum(cite in names for cite in cited) >= 150


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (('to = "CH"', 'to = "chh"'), "line 5: case 'one': no jurisdiction 'chh' in the pack; did you mean ch?"),
        (('to = "CH"', 'to = "us-dpf"'), "a scheme, a class of recipients inside us: never a place"),
        (('to = "CH"', 'to = "XX"'), "no country 'XX'"),
        (('residence = "DE"', 'residence = "eu"'), "is no country such as DE"),
        (('residence = "DE", ', ""), "needs either residence or regimes"),
        (('residence = "DE"', 'residence = "DE", regimes = ["eu"]'), "needs either residence or regimes"),
        (('to = "CH"', 'to = "CH", tags = ["helth"]'), "no tag 'helth'; did you mean health?"),
        (('to = "CH"', 'to = "CH", tgas = []'), "unknown field `tgas`"),
        (('answer = "allow"', 'answer = "yes"'), "is no answer to transfer"),
        (('answer = "allow"', 'answer = "allow", cells = ["eu-de"]'), "expect.cells says nothing of transfer"),
        (('cite = "edges: eu -> ch"', 'cite = " "'), "cite is empty"),
        (("at = 2026-11-21", "at = 2026-13-21"), "not TOML"),
        (("[[case]]", "[[cases]]"), "unknown field `cases`"),
    ],
)
def test_a_case_that_cannot_be_meant_is_refused_with_its_line(changed: tuple[str, str], told: str) -> None:
    with pytest.raises(CasesError) as caught:
        read((HEAD + CASE).replace(*changed), bundled())
    assert told in "\n".join(caught.value.mistakes)


def test_every_mistake_is_told_not_only_the_first() -> None:
    text = HEAD + CASE.replace('"CH"', '"XX"') + CASE.replace('"DE"', '"XX"').replace('"one"', '"two"') + CASE
    with pytest.raises(CasesError) as caught:
        read(text, bundled())
    assert [line.split(":")[0] for line in caught.value.mistakes] == ["line 5", "line 13", "line 21"]


@pytest.mark.parametrize(
    ("expect", "keys"),
    [
        ('answer = "deny"', ["answer"]),
        ('answer = "allow", rows = ["edges: eu -> uk"]', ["rows"]),
        ('answer = "allow", duties = ["notify_authority"]', ["duties"]),
        ('answer = "allow", lacks = ["scc"]', ["lacks"]),
        ('answer = "allow", until = 2026-11-22', ["until"]),
        ('answer = "allow", rows = ["edges: eu -> ch"], duties = [], lacks = []', []),
    ],
)
def test_what_differs_from_the_expectation_is_told_by_its_key(expect: str, keys: list[str]) -> None:
    (outcome,) = asked("here", (HEAD + CASE).replace('answer = "allow"', expect), bundled())
    assert [one.key for one in outcome.differences] == keys


def test_a_law_that_turned_fails_the_cases_that_rest_on_it() -> None:
    """A planted fault: without the edge to the uk, its cases are told."""
    pack = bundled()
    without = msgspec.structs.replace(pack, edges=tuple(row for row in pack.edges if row.name != "eu -> uk"))
    outcomes = asked("edges.toml", case_files()["edges.toml"], without)
    assert {one.case.name for one in outcomes if one.differences} == {"eu to uk on the last day of the decision"}


def test_place_and_decide_without_a_policy_are_not_asked_and_not_passed() -> None:
    text = """
[[case]]
name = "one"
at = 2026-11-21
ask = "place"
given = { residence = "DE", services = ["shop"] }
expect = { answer = "allowed" }
cite = "evaluation: 6"
"""
    file: CaseFile = read(text, bundled())
    (outcome,) = run(file, bundled(), None)
    assert (outcome.answer, outcome.differences[0].got) == ("not asked", "not asked")


GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "the-law.md"


def test_the_guides_cases_are_cases_and_hold_on_the_stacks_policy() -> None:
    (text,) = (
        one
        for one in re.findall(r"```toml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
        if "[[case]]" in one
    )
    outcomes = run(read(text, bundled()), bundled(), load(POLICY))
    assert [(one.answer, one.differences) for one in outcomes] == [("hairpin", ()), ("deny", ())]
