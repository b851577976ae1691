"""Explanations name the rows they rest on; the commands print them with their date and the notice that this is no legal advice."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from foundation.words import Verb
from gateway.cli.rules import rules as command
from routing_rules.explain import NOT_LEGAL_ADVICE, explain_decide, explain_place
from routing_rules.rules import load
from tests.stands.rules import POLICY, TODAY, person, policy_with, request, rules


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(one) for one in arguments])


def test_a_placement_is_explained_by_the_row_its_source_and_the_cells() -> None:
    explained = explain_place(person("GB"), rules(), TODAY)
    row = explained.steps[0]
    assert (row.row, row.as_of, row.confidence) == ("uk", "2026-02", "high")
    assert row.source is not None
    assert "UK GDPR Art 12(3)" in row.source
    assert [step.answer for step in explained.steps[1:]] == ["eu-de", "eu-de"]
    assert explained.notice == NOT_LEGAL_ADVICE


def test_a_law_that_does_not_count_yet_is_not_followed_to_cells() -> None:
    explained = explain_place(person("CL"), rules(), TODAY)
    assert [step.row for step in explained.steps] == ["cl"]


def test_an_unknown_country_is_explained_by_what_is_missing() -> None:
    explained = explain_place(person("XX"), rules(), TODAY)
    assert (explained.outcome, explained.steps[0].row) == ("no_cell", None)
    assert explained.steps[0].answer.startswith("unknown: ")


@pytest.mark.parametrize(
    ("changes", "outcome", "answers"),
    [
        ({}, "serve", ["yes", "region eu, where the request came in", "yes", "eu-de"]),
        ({"ingress": "in"}, "elsewhere", ["yes", "region eu", "yes", "eu-de"]),
        ({"cell": "us-va"}, "refuse", ["no", "region us", "yes", "us-va"]),
        ({"services": ("x",)}, "refuse", ["yes", "region eu, where the request came in", "no", "eu-de"]),
        ({"cell": "nowhere"}, "refuse", ["unknown: policy declares no such cell", "yes", "none"]),
        (
            {"service": "x"},
            "refuse",
            ["yes", "region eu, where the request came in", "no", "unknown: policy declares no such service"],
        ),
    ],
)
def test_each_step_of_a_decision_is_answered(changes: dict[str, object], outcome: str, answers: list[str]) -> None:
    explained = explain_decide(request(**changes), rules(), TODAY)
    assert explained.outcome == outcome
    assert [step.answer for step in explained.steps[1:]] == answers


def test_tags_that_no_rule_reads_are_a_step_of_their_own() -> None:
    tagged = load(policy_with(('purpose = "service"\nanonymous', 'purpose = "service"\ntags = ["health"]\nanonymous')))
    for explained in (explain_place(person(), tagged, TODAY), explain_decide(request(), tagged, TODAY)):
        assert any("'health'" in step.answer for step in explained.steps)


def test_check_answers_each_country_for_each_service(policy: Path) -> None:
    result = run("check", "--policy", policy, "--at", "2026-11-21", "--json")
    document = json.loads(result.output)
    assert result.exit_code == 0
    assert document["counts"] == {"answers": 498, "placed": 96}
    by_key = {(line["country"], line["service"]): line for line in document["lines"]}
    assert by_key["CH", "orders"]["cells"] == ["eu-de"]
    assert by_key["IR", "orders"]["cells"] == []
    assert by_key["IR", "orders"]["ground"].startswith("unknown: row ir")


def test_check_prints_a_table_with_counts_and_the_notice(policy: Path) -> None:
    output = run("check", "--policy", policy, "--at", "2026-11-21").output
    assert "249 countries x 2 services: 96 placed, 402 refused (220 of them because the law is unknown)" in output
    assert rules().digest in output
    assert NOT_LEGAL_ADVICE in output


def test_check_lists_every_mistake_and_fails(policy: Path) -> None:
    policy.write_text(policy_with(("decision_s = 15", "decision_s = 31"), ('region = "us"', 'region = "uss"')))
    result = run("check", "--policy", policy)
    assert result.exit_code == 1
    assert "has 2 mistakes" in result.output
    assert "product.decision_s" in result.output
    assert "did you mean us?" in result.output


@pytest.mark.parametrize("name", ["check", "digest"])
def test_a_policy_that_is_not_there_is_said_in_one_line(name: str, tmp_path: Path) -> None:
    result = run(name, "--policy", tmp_path / "none.toml")
    assert result.exit_code == 1
    assert result.output.count("\n") == 1


def test_explain_shows_row_date_confidence_and_notice_with_each_explanation(policy: Path) -> None:
    arguments = ("explain", "--policy", policy, "--country", "de", "--service", "orders", "--at", "2026-11-21")
    output = run(*arguments, "--ingress", "us").output
    assert output.startswith("allowed on 2026-11-21: row eu (as of 2026-02)")
    assert "elsewhere on 2026-11-21" in output
    assert output.count("as of 2026-02; confidence high") == 2
    assert output.count(NOT_LEGAL_ADVICE) == 2


def test_explain_says_when_an_answer_may_change(policy: Path) -> None:
    arguments = ("explain", "--policy", policy, "--country", "CL", "--service", "orders")
    assert "may change on 2026-12-01" in run(*arguments, "--at", "2026-11-21").output
    assert "may change on" not in run(*arguments, "--at", "2026-12-01").output


def test_explain_gives_the_same_trail_as_json(policy: Path) -> None:
    arguments = ("--country", "IN", "--service", "orders", "--ingress", "in", "--verb", "write", "--at", "2026-11-21")
    document = json.loads(run("explain", "--policy", policy, *arguments, "--json").output)
    assert [one["outcome"] for one in document] == ["allowed", "serve"]
    assert document[0]["steps"][0]["row"] == "in"
    assert document[1]["answer"]["cell"] == "in-mum"
    decided = explain_decide(request(ingress="in", cell="in-mum", regimes=("in",), verb=Verb.WRITE), rules(), TODAY)
    assert document[1]["steps"] == json.loads(msgspec.json.encode(decided.steps))


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--country", "Germany", "--service", "orders"), "two letters of ISO 3166-1"),
        (("--country", "DE", "--service", "order"), "did you mean orders?"),
        (("--country", "DE", "--service", "orders", "--ingress", "euu"), "did you mean eu?"),
    ],
)
def test_a_wrong_argument_is_a_usage_error_with_a_hint(policy: Path, arguments: tuple[str, ...], hint: str) -> None:
    result = run("explain", "--policy", policy, *arguments)
    assert result.exit_code == 2
    assert hint in result.output


def test_digest_is_that_of_the_text_as_it_stands(policy: Path) -> None:
    assert run("digest", "--policy", policy).output.strip() == rules().digest
    policy.write_bytes(POLICY.replace("\n", "\r\n").encode())
    changed = json.loads(run("digest", "--policy", policy, "--json").output)
    assert changed["digest"] == load(POLICY.replace("\n", "\r\n")).digest != rules().digest
    assert changed["pack"] == f"sha256:{rules().pack.digest}"
