"""`domicile egress` at the terminal: what is no release or no proof is told in one line, and a sample says why a row would not leave."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cells.egress.manifest import MANIFEST, SIGNATURE
from cells.egress.runs import PARTS, PUT
from cells.egress.treating import Batch
from foundation.settings import SettingsError
from gateway.cli.egress.means import contract_digest
from gateway.cli.egress.plan import side_by_side
from gateway.cli.main import cli
from routing_rules.release import Consent
from tests.stands.egress import PEOPLE, SIGNER, Found, journal_of, people, person, row, rules, run_of, treater

RULES = rules()
FILES: dict[str, Callable[[Path], object]] = {
    "an object of another kind": lambda path: path.write_text("{}"),
    "another format": lambda path: path.write_text('{"format": "domicile-release/9", "id": "rel-1"}'),
    "members of other types": lambda path: path.write_text('{"format": "domicile-release/1", "destination": 1}'),
    "a list": lambda path: path.write_text("[]"),
    "no JSON": lambda path: path.write_text("released: yes"),
    "nothing": lambda path: path.write_text(""),
    "no UTF-8": lambda path: path.write_bytes(b'{"format": "\xff"}'),
    "deep": lambda path: path.write_text('{"a":' * 100_000),
    "a folder": lambda path: path.mkdir(),
    "not there": lambda _path: None,
}


def command(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["egress", *map(str, words)])


def told(result: Result) -> str:
    """What is said of a mistake: one line, and no exception that nobody expected."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    return line


@pytest.fixture
def key(folder: Path) -> Path:
    path = folder / "cell.vkey"
    path.write_text(SIGNER.verifier.text)
    return path


@pytest.mark.parametrize("what", FILES)
def test_what_is_no_manifest_is_told_in_one_line(folder: Path, key: Path, what: str) -> None:
    release = folder / "rel-1"
    release.mkdir()
    FILES[what](release / MANIFEST)
    (release / SIGNATURE).write_bytes(b"\xff\x00")
    assert MANIFEST in told(command("explain", release))
    assert told(command("verify", release, "--key", key)).startswith("Error: does not hold: ")


def test_files_of_a_proof_that_are_not_there_are_told_by_their_own_names(folder: Path, key: Path) -> None:
    release = folder / "rel-1"
    release.mkdir()
    away, payload = folder / "away.tlog-proof", folder / "r.payload"
    payload.write_bytes(b"")
    shown = ("--key", key, "--proof", away, "--payload", payload, "--log-key", key)
    line = told(command("verify", release, *shown))
    assert f"{away} cannot be read" in line
    assert "domicile ledger prove" in line


@pytest.mark.parametrize("name", [PARTS, PUT])
@pytest.mark.parametrize("line", [b"{}\n", b"\xff\n", b"no JSON\n"])
def test_a_journal_whose_lines_are_others_is_told_by_its_file(folder: Path, name: str, line: bytes) -> None:
    journal = journal_of(folder, run_of(folder, held=RULES))
    (journal.folder / name).write_bytes(line)
    with pytest.raises(SettingsError, match=f"{name} is no journal of a release"):
        journal.parts() if name == PARTS else journal.put()


def test_a_digest_of_a_contract_is_of_what_it_says_however_it_is_written() -> None:
    said = contract_digest(people())
    assert contract_digest(people(f"# In other words.\n{PEOPLE}\n")) == said
    assert contract_digest(people(PEOPLE.replace("leaving: {default: month}", "leaving: {default: year}"))) != said


def naive_scan(strings: Any, _name: str) -> list[list[Found]]:
    return [[Found("email", 0, len(one))] if "@" in one else [] for one in strings]


def sampled(batch: Batch) -> list[tuple[str, str, str, str]]:
    return side_by_side(treater("us-lake", held=RULES, scan=naive_scan), batch, "1 (DE)")


def batch_of(values: dict[str, Any], consent: Consent = Consent.UNSAID, drifted: tuple[str, ...] = ()) -> Batch:
    columns = {name: [value] for name, value in values.items() if name not in drifted}
    return Batch([person("DE", consent)], columns, drifted)


def test_a_sample_has_each_field_before_and_after() -> None:
    said = {field: (before, after) for _, field, before, after in sampled(batch_of(row(email="ann@mail.example.com")))}
    assert said["email"] == ("ann@mail.example.com", "mail.example.com")
    assert said["item"] == ("item 1", "item 1")
    assert said["illness"][1] == ""
    assert "" not in said


def test_a_sample_says_why_a_row_would_stay_or_be_held() -> None:
    refused = sampled(batch_of(row(), Consent.WITHHELD))
    assert refused[0] == ("1 (DE)", "", "", "stays: the person has said no to analytics")
    held = sampled(batch_of(row(item="ann@leak.example")))
    assert held[0] == ("1 (DE)", "", "", "in quarantine: email in item")
    assert {after for _, field, _, after in [*refused, *held] if field} == {""}


def test_a_sample_of_a_table_whose_column_drifted_has_the_other_columns() -> None:
    said = {field: after for _, field, _, after in sampled(batch_of(row(), drifted=("tier",)))}
    assert "tier" not in said
    assert said["item"] == "item 1"
