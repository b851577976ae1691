"""What a subject's page says where something is not known: that it is not known."""

from typing import Any

from gateway.cli.truth import since, where, where_lines, why_lines

POLICY = """
[regions.eu]
country = "DE"
[cells.eu-de]
region = "eu"
shards = { s1 = { country = "FR" } }
"""


def page(**changes: Any) -> dict[str, Any]:
    facts = {"regimes": ["us", "us-tx"], "residence": "US", "subdivision": "US-TX", "citizenships": None, "tags": []}
    placement = {
        "cell": "eu-de",
        "shard": "s1",
        "epoch": 7,
        "state": "active",
        "services": ["orders"],
        "facts": facts | {"terms": None} | changes.pop("facts", {}),
    }
    why = {
        "basis": "verified",
        "declared": "DE",
        "ground": "row us",
        "on": "2026-11-21",
        "rules": "sha256:0",
        "valid_until": "2027-01-01",
        "questions": ["residence_observed_elsewhere"],
        "law": [],
    }
    known = {"placement": placement, "where": where(POLICY, "eu-de", "s1"), "why": why, "since": 0.0}
    return known | changes


def test_a_home_stands_where_the_policy_that_holds_says() -> None:
    assert where(POLICY, "eu-de", "s1") == {"region": "eu", "country": "DE", "shard_country": "FR"}
    assert where_lines(page())[:2] == ["cell eu-de, shard s1 in FR", "region eu, DE"]


def test_a_cell_that_policy_does_not_name_is_nowhere_that_is_known() -> None:
    nowhere = {"region": None, "country": None, "shard_country": None}
    assert where(POLICY, "us-va", "s1") == nowhere
    assert where(None, "eu-de", "s1") == nowhere
    lines = where_lines(page(where=nowhere, since=None))
    assert "policy does not say" in lines[0]
    assert "unknown" in lines[1]
    assert "not known" in lines[-1]
    assert since([]) is None


def test_why_names_what_was_declared_and_verified_and_what_is_still_to_be_asked() -> None:
    lines = why_lines(page())
    assert lines[0] == "residence US, part US-TX, verified (declared DE)"
    assert "citizenships not asked" in lines
    assert "regimes us, us-tx" in lines
    assert "the rules may answer otherwise from 2027-01-01 on" in lines
    assert lines[-1] == "to be asked: residence_observed_elsewhere"


def test_no_citizenship_is_not_the_same_as_none_asked() -> None:
    assert "citizenships none" in why_lines(page(facts={"citizenships": []}))
    assert "citizenships DE, US" in why_lines(page(facts={"citizenships": ["DE", "US"]}))


def test_tags_and_terms_are_told_where_there_are_any() -> None:
    lines = why_lines(page(facts={"tags": ["health", "payments"], "terms": "acme"}))
    assert {"data of kind health, payments", "terms acme"} <= set(lines)


def test_what_an_earlier_version_placed_is_shown_with_what_it_kept() -> None:
    lines = why_lines(page(why=None))
    assert lines[0] == "residence US, part US-TX"
    assert lines[-1] == "the version that placed this subject kept no more"
