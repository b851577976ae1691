"""`domicile rules` on files: what it prints for people and programs, and the status it ends with."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.rules import rules as command
from routing_rules.explain import NOT_LEGAL_ADVICE
from tests.stands.rules import POLICY, policy_with

DAY = ("--at", "2026-11-21")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(one) for one in arguments])


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_check_shows_every_country_once_for_what_answers_alike(policy: Path) -> None:
    done = run("check", "--policy", policy, *DAY)
    assert done.exit_code == 0, done.output
    shown = squeezed(done.output)
    assert "249 countries x 3 services: 144 placed, 603 refused (330 of them because the law is unknown)" in shown
    assert "orders, records" in shown
    assert "No served regime objects to the directory in DE." in shown
    assert NOT_LEGAL_ADVICE in shown
    codes = set(re.findall(r"\b[A-Z]{2}\b", done.output))
    assert {line["country"] for line in document("check", policy)["lines"]} <= codes


def document(name: str, policy: Path, *more: str | Path) -> dict[str, object]:
    done = run(name, "--policy", policy, *DAY, "--json", *more)
    found: dict[str, object] = json.loads(done.output)
    return found


def test_check_gives_programs_a_line_for_each_country_and_service(policy: Path) -> None:
    found = document("check", policy)
    assert found["counts"] == {"answers": 747, "placed": 144, "refused": 273, "unknown": 330}
    assert len(found["lines"]) == 747
    assert found["notice"] == NOT_LEGAL_ADVICE


def test_check_tells_what_runs_out_and_is_strict_about_it_on_request(policy: Path) -> None:
    late = ("--policy", policy, "--at", "2029-02-20")
    told = run("check", *late)
    assert told.exit_code == 0
    assert "DEMO-SCC-EU-US" in told.output
    assert "8 days left" in told.output
    assert run("check", *late, "--strict").exit_code == 1
    assert run("check", "--policy", policy, *DAY, "--strict").exit_code == 0


def test_check_tells_whose_law_objects_to_the_directorys_place(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(policy_with(('[directory]\ncountry = "DE"', '[directory]\ncountry = "IN"')))
    done = run("check", "--policy", path, *DAY)
    assert "Whose law objects to the directory in IN" in done.output
    assert run("check", "--policy", path, *DAY, "--strict").exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [("--openapi", "x.json"), ("--service", "orders"), ("--exemptions", "x.toml")],
)
def test_options_of_an_api_go_together(arguments: tuple[str, str], policy: Path) -> None:
    assert run("check", "--policy", policy, *arguments).exit_code == 2


def test_explain_of_a_person_shows_row_source_date_and_confidence(policy: Path) -> None:
    done = run("explain", "--policy", policy, "--residence", "GB", "--service", "orders", *DAY)
    shown = squeezed(done.output)
    assert shown.startswith("allowed on 2026-11-21: eu-de")
    assert "row edges.csv:19 uk -> eu, from 2021-01-01" in shown
    assert "as of 2026-02; confidence high; in_force" in shown
    assert "source: DPA 2018 Sch 21" in shown
    assert NOT_LEGAL_ADVICE in shown


def test_explain_of_a_traveller_names_the_operators_instruments(policy: Path) -> None:
    person = ("--residence", "DE", "--service", "orders", "--ingress", "us")
    shown = squeezed(run("explain", "--policy", policy, *person, *DAY).output)
    assert "hairpin on 2026-11-21" in shown
    assert "instruments: DEMO-SCC-EU-US" in shown
    assert "owed: eu: complete transfer impact assessment, first" in shown
    assert "may change on 2029-03-01" in shown


def test_explain_of_a_transfer_says_what_would_open_it(policy: Path) -> None:
    road = ("--from", "EU", "--to", "us", "--tag", "health")
    shown = squeezed(run("explain", "--policy", policy, *road, *DAY).output)
    assert shown.startswith("deny on 2026-11-21")
    assert (
        "would change it: scc + impact_assessment or bcr + impact_assessment from eu to us covering health, on file"
        in shown
    )
    certified = run("explain", "--policy", policy, *road, "--recipient-class", "dpf_certified", *DAY)
    assert "edges.csv:17 eu -> us-dpf" in certified.output


def test_explain_gives_the_same_trail_as_json(policy: Path) -> None:
    done = run("explain", "--policy", policy, "--from", "kr", "--to", "DE", "--tag", "credit", "--json", *DAY)
    (found,) = json.loads(done.output)
    assert found["outcome"] == "deny"
    assert {step["confidence"] for step in found["steps"] if step.get("row")} == {"high"}
    assert found["would_change"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name a person"),
        (("--residence", "DE"), "name a person"),
        (("--from", "eu"), "a transfer takes"),
        (("--from", "eu", "--to", "us", "--residence", "DE"), "a transfer takes"),
        (("--from", "germany", "--to", "us"), "no jurisdiction germany"),
        (("--from", "de", "--to", "us"), "DE is under eu"),
        (("--from", "eu", "--to", "us-dpf"), "is a scheme inside us"),
        (("--from", "eu", "--to", "XX"), "no country XX"),
        (("--from", "eu", "--to", "us", "--tag", "helth"), "did you mean health?"),
        (("--residence", "XX", "--service", "orders"), "no country XX"),
        (("--residence", "DE", "--service", "order"), "did you mean orders?"),
        (("--residence", "DE", "--part", "US-TX", "--service", "orders"), "US-TX is no part of DE"),
        (("--residence", "UK", "--service", "orders"), "no country UK; the jurisdiction uk has GB"),
        (("--from", "eu", "--to", "us", "--recipient-class", "dpf_certifed"), "did you mean dpf_certified?"),
        (("--residence", "DE", "--service", "orders", "--terms", "x"), "no terms x"),
        (("--residence", "DE", "--service", "orders", "--ingress", "eux"), "did you mean eu?"),
        (("--residence", "DE", "--service", "orders", "--ingress", "eu", "--actor", "x"), "no actor x"),
    ],
)
def test_what_names_nothing_is_wrong_usage_with_the_nearest_name(
    arguments: tuple[str, ...], told: str, policy: Path
) -> None:
    done = run("explain", "--policy", policy, *arguments)
    assert done.exit_code == 2, done.output
    assert told in squeezed(done.output)


def test_explain_decides_for_a_service_that_acts_for_the_person(policy: Path) -> None:
    person = ("--residence", "DE", "--service", "orders", "--ingress", "eu", "--actor", "support-desk")
    assert "serve on 2026-11-21: actors.support-desk" in run("explain", "--policy", policy, *person, *DAY).output
    refused = run("explain", "--policy", policy, *person, "--verb", "write", *DAY)
    assert "refuse on 2026-11-21" in refused.output


def test_diff_of_files_is_told_by_people_and_services(policy: Path, tmp_path: Path) -> None:
    after = tmp_path / "after.toml"
    after.write_text(policy_with(('serves = ["eu", "uk", "ch"]', 'serves = ["eu", "uk"]')))
    done = run("diff", policy, after, *DAY)
    assert "ch CH: orders, records, views: served by eu-de -> refused (no_cell_allowed)" in done.output
    assert "3 answers of countries x services change on 2026-11-21" in done.output
    found = json.loads(run("diff", policy, after, *DAY, "--json").output)
    assert {change["service"] for change in found["changes"]} == {"orders", "records", "views"}
    assert "keys that differ: cells.eu-de.serves" in done.output
    alike = run("diff", policy, policy, *DAY).output
    assert "No answer of countries x services changes" in alike
    assert "keys that differ" not in alike


def test_diff_lists_every_mistake_of_a_policy_that_cannot_be_used(policy: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(policy_with(("decision_s = 15", "decision_s = 31")))
    done = run("diff", policy, bad)
    assert done.exit_code == 1
    assert "bad.toml has 1 mistake" in done.output


def test_obligations_are_listed_with_clock_and_row(policy: Path) -> None:
    shown = squeezed(run("obligations", "in", "--policy", policy, *DAY).output)
    assert "cyber incident notify cert in 6 hours after high obligations.csv:66" in shown
    assert "breach known" not in shown
    later = squeezed(run("obligations", "in", "--policy", policy, "--at", "2027-05-13").output)
    assert "breach known notify regulator 72 hours after" in later
    assert run("obligations", "inn", "--policy", policy).exit_code == 2


def test_the_releases_cases_pass_from_the_command_line() -> None:
    done = run("test")
    assert done.exit_code == 0, done.output
    assert re.search(r"(\d{3}) cases, \1 as expected, 0 not", done.output)


CASE = """
[[case]]
name = "Germans live in Frankfurt"
at = 2026-11-21
ask = "place"
given = { residence = "DE", services = ["orders"] }
expect = { answer = "allowed", cells = ["eu-de"] }
cite = "evaluation: 6"
"""


def test_an_operators_cases_are_asked_of_their_policy(policy: Path, tmp_path: Path) -> None:
    cases = tmp_path / "ours.toml"
    cases.write_text(CASE)
    assert run("test", cases, "--policy", policy).exit_code == 0
    cases.write_text(f'policy = "policy.toml"\n{CASE}')
    assert run("test", cases).exit_code == 0


def test_a_case_that_fails_is_shown_with_what_was_expected_got_and_cited(policy: Path, tmp_path: Path) -> None:
    cases = tmp_path / "ours.toml"
    cases.write_text(CASE.replace("eu-de", "us-va"))
    done = run("test", cases, "--policy", policy)
    assert done.exit_code == 1
    assert "cells: expected us-va, got eu-de" in done.output
    assert "cited: evaluation: 6" in done.output
    found = json.loads(run("test", cases, "--policy", policy, "--json").output)
    assert (found["passed"], found["failed"]) == (0, 1)


def test_a_file_that_is_no_cases_is_refused_in_words(policy: Path, tmp_path: Path) -> None:
    cases = tmp_path / "ours.toml"
    cases.write_text(CASE.replace('ask = "place"', 'ask = "plaice"'))
    done = run("test", cases, "--policy", policy)
    assert done.exit_code == 1
    assert "line 2" in done.output


@pytest.mark.parametrize("name", ["apply", "history", "rollback", "show"])
def test_without_a_stack_it_is_said_that_there_is_none(name: str, policy: Path, tmp_path: Path) -> None:
    arguments: tuple[str | Path, ...] = {"apply": (policy,), "rollback": ("--previous",)}.get(name, ())
    done = run(name, *arguments, "--state", tmp_path / "none")
    assert done.exit_code == 1
    assert "there is no stack" in f"{done.output}{done.exception}"


def test_names_count_in_any_case(policy: Path) -> None:
    lower = run("explain", "--policy", policy, "--residence", "us", "--part", "us-tx", "--service", "orders", *DAY)
    upper = run("explain", "--policy", policy, "--residence", "US", "--part", "US-TX", "--service", "orders", *DAY)
    assert (lower.exit_code, lower.output) == (0, upper.output)
    assert (
        run("obligations", "EU", "--policy", policy, *DAY).output
        == run("obligations", "eu", "--policy", policy, *DAY).output
    )
    assert "DE is under eu" in squeezed(run("obligations", "de", "--policy", policy, *DAY).output)


def test_files_that_are_none_are_named_in_a_line(policy: Path, tmp_path: Path) -> None:
    garbled, missing = tmp_path / "garbled", tmp_path / "missing"
    garbled.write_bytes(b"ok\xff")
    for named in (["check", "--policy"], ["test"], ["diff", str(policy)]):
        for path, told in ((garbled, "is no text: byte 3 is not UTF-8"), (missing, "does not exist")):
            done = run(*named, path)
            assert (done.exit_code, done.output) == (1, f"Error: {path} {told}\n")


def test_what_nobody_serves_or_knows_is_one_line_for_all_of_them(policy: Path) -> None:
    shown = run("check", "--policy", policy, *DAY).output
    assert shown.count("policy: no cell serves it") == 1
    assert shown.count("unknown: nothing is known of its law") == 1
    assert len(shown.splitlines()) < 150
