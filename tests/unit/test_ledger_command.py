"""`domicile ledger` on the folder of a stack: by the names of its logs, whether it runs or not; and how these stand with witnesses."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from deploy.local import keys, lock, render
from deploy.local.layout import Layout, Paths, fixed_ports, ledgers
from foundation.clock import SystemClock
from foundation.ledger.entries import Recorded
from foundation.ledger.log import Log
from foundation.ledger.notes import Signer
from foundation.ledger.settings import LedgerSettings
from foundation.ledger.witness.cosignatures import Cosigner
from foundation.ledger.witness.settings import WitnessSettings
from foundation.ledger.witness.witness import Witness
from foundation.mute import Secret
from foundation.settings import SettingsError, load
from gateway.cli.ledger import which
from gateway.cli.main import cli
from tests.stands.ledger import SIGNER, rows, unsynced, written
from tests.stands.witnesses import cosigner, submission, with_cosignatures


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder whose directory and one cell have written logs."""
    unsynced(monkeypatch)
    paths = Paths(tmp_path)
    for name in ("directory", "cell-eu-de"):
        paths.ledger(name).parent.mkdir(exist_ok=True)
        written(paths.ledger(name), 300)
        paths.ledger_key(name).write_text(SIGNER.verifier.text)
    return tmp_path


def run(*words: str | Path) -> str:
    done = CliRunner().invoke(cli, ["ledger", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("name", ["directory", "eu-de"])
def test_a_log_of_the_stack_is_shown_proved_from_and_verified_by_its_name(
    state: Path, name: str, tmp_path: Path
) -> None:
    shown = json.loads(run("show", name, "--state", state, "--limit", "2", "--json"))
    assert [entry["id"] for entry in shown["entries"]] == ["event:300", "event:299"]
    assert shown["entries"][0]["details"] == {"n": 300}
    assert "event:281" in run("show", name, "--state", state)
    proof = tmp_path / "p"
    assert "entry 11 of 300" in run("prove", name, "event:12", "--state", state, "--out", proof)
    key = Paths(state).ledger_key("directory")
    assert "entry 11 of 300" in run("verify", proof, "--key", key)
    assert "300 payloads fit" in run("verify", name, "--state", state, "--save", tmp_path / "cp")
    assert "goes on from 300" in run("verify", name, "--state", state, "--since", tmp_path / "cp")


def test_without_its_payload_an_entry_is_shown_by_what_it_says_itself(state: Path) -> None:
    with Log(Paths(state).ledger("directory"), SIGNER) as log:
        assert log.erase(299)
    newest, second = json.loads(run("show", "directory", "--state", state, "--limit", "2", "--json"))["entries"]
    assert (newest["id"], newest["actor"], newest["kind"]) == (None, None, "placement")
    assert second["id"] == "event:299"
    assert f"(event {newest['event'][:16]}…)" in run("show", "directory", "--state", state)
    assert "1 are not here" in run("verify", "directory", "--state", state)
    refused = CliRunner().invoke(
        cli, ["ledger", "prove", "directory", "event:300", "--state", str(state), "--payload", str(state / "opening")]
    )
    assert (refused.exit_code, "is not here" in refused.output) == (1, True)


def test_a_new_key_opens_a_log_of_its_name_and_is_not_written_over(tmp_path: Path) -> None:
    file = tmp_path / "key"
    made = json.loads(run("key", "ledger.example.com/eu-de", "--out", file, "--json"))
    settings = LedgerSettings(folder=str(tmp_path / "log"), origin="ledger.example.com/eu-de", key_file=str(file))
    assert settings.signer().verifier.text == made["public"]
    written(tmp_path / "log", 3, signer=settings.signer())
    (tmp_path / "public").write_text(run("key", "other.example.com", "--out", tmp_path / "other"))
    for words, says in (
        (("key", "a b", "--out", str(tmp_path / "third")), "cannot be the name"),
        (("key", "ledger.example.com/eu-de", "--out", str(file)), "is there already"),
        (
            ("verify", str(tmp_path / "log"), "--key", str(tmp_path / "public")),
            "bears no signature of other.example.com",
        ),
    ):
        refused = CliRunner().invoke(cli, ["ledger", *words])
        assert (refused.exit_code, says in refused.output) == (1, True), refused.output
    assert settings.signer().verifier.text == made["public"]


def test_what_does_not_hold_is_one_line_and_exit_status_1(state: Path) -> None:
    folder = Paths(state).ledger("directory")
    unknown = CliRunner().invoke(cli, ["ledger", "prove", "directory", "event:301", "--state", str(state)])
    assert (unknown.exit_code, "no entry" in unknown.output) == (1, True)
    with Log(folder, SIGNER) as log:
        log.append({"s1": rows(301, 1)})
        log.publish()
    entries = folder / "tile/entries/000"
    entries.write_bytes(entries.read_bytes().replace(b'"position":7,', b'"position":8,'))
    refused = CliRunner().invoke(cli, ["ledger", "verify", "directory", "--state", str(state)])
    assert (refused.exit_code, "does not hold: bundle 0" in refused.output) == (1, True)
    (folder / "checkpoint").unlink()
    gone = CliRunner().invoke(cli, ["ledger", "show", "directory", "--state", str(state)])
    assert (gone.exit_code, "has no checkpoint" in gone.output) == (1, True)


@pytest.mark.parametrize("details", [b'{"n":"\xff"}', b"[" * 5_000 + b"]" * 5_000], ids=["no UTF-8", "nested"])
def test_a_payload_that_no_reader_can_take_is_one_line_wherever_it_is_shown(
    state: Path, tmp_path: Path, details: bytes
) -> None:
    with Log(Paths(state).ledger("directory"), SIGNER) as log:
        log.append({"s1": [msgspec.structs.replace(row, details=msgspec.Raw(details)) for row in rows(301, 1)]})
        log.publish()
    proof, opening, key = tmp_path / "p", tmp_path / "opening", Paths(state).ledger_key("directory")
    run("prove", "directory", "event:301", "--state", state, "--out", proof, "--payload", opening)
    for words in (
        ("show", "directory", "--state", state),
        ("export", "directory", "--state", state, "--since", "300", "--out", tmp_path / "out", "--payloads"),
        ("verify", proof, "--key", key, "--payload", opening),
        ("verify", proof, "--key", key, "--payload", opening, "--json"),
    ):
        refused = CliRunner().invoke(cli, ["ledger", *map(str, words)])
        assert (refused.exit_code, "does not hold: a payload is no JSON" in refused.output) == (1, True), refused
    assert "301 payloads fit" in run("verify", "directory", "--state", state)


def test_paths_that_no_file_can_have_are_one_line(state: Path) -> None:
    for words in (("verify", "x" * 300), ("show", "x" * 300)):
        refused = CliRunner().invoke(cli, ["ledger", *words, "--state", str(state)])
        assert (refused.exit_code, "File name too long" in refused.output) == (1, True), refused
        assert len(refused.output.splitlines()) == 1


def test_a_log_is_given_out_into_a_file_once_and_goes_on_there(state: Path, tmp_path: Path) -> None:
    out = tmp_path / "events.ndjson"
    words = ("export", "directory", "--state", state, "--out", out)
    assert "300 entries" in run(*words)
    events = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["metadata"]["sequence"] for one in events] == list(range(300))
    assert {one["class_uid"] for one in events} == {3004}
    assert "operator:test" not in out.read_text()
    assert "0 entries" in run(*words)
    with Log(Paths(state).ledger("directory"), SIGNER) as log:
        log.append({"s1": rows(301, 2)})
        log.publish()
    assert json.loads(run(*words, "--json")) == {"origin": SIGNER.verifier.name, "first": 300, "following": 302}
    assert len(out.read_text().splitlines()) == 302
    whole = ("--format", "entries", "--payloads", "--since", "299")
    run("export", "directory", "--state", state, "--out", tmp_path / "whole", *whole)
    lines = [json.loads(line) for line in (tmp_path / "whole").read_text().splitlines()]
    assert [(line["index"], line["payload"]["id"]) for line in lines] == [
        (299, "event:300"),
        (300, "event:301"),
        (301, "event:302"),
    ]


def test_what_cannot_be_given_out_is_said(state: Path, tmp_path: Path) -> None:
    for words, says in (
        ((), "either --out FILE or --to URL"),
        (("--out", "a", "--to", "http://b"), "either --out FILE or --to URL"),
        (("--to", "siem"), "an address"),
        (("--out", str(tmp_path / "a"), "--to-token-file", "b"), "goes with --to"),
        (("--out", str(tmp_path / "a"), "--since", "301"), "none is at 301"),
        (("--out", str(tmp_path / "no" / "a")), "no folder"),
    ):
        refused = CliRunner().invoke(cli, ["ledger", "export", "directory", "--state", str(state), *words])
        assert (refused.exit_code != 0, says in refused.output) == (True, True), refused.output


def test_a_reading_of_a_folder_that_nobody_keeps_says_that_it_is_not_recorded(state: Path) -> None:
    shown = CliRunner().invoke(cli, ["ledger", "show", "directory", "--state", str(state), "--json"])
    assert "not recorded" in shown.stderr
    assert json.loads(shown.stdout)["size"] == 300


def test_erasing_asks_the_process_that_keeps_the_log(state: Path) -> None:
    for words, says in (
        (("directory", "--subject", "ada"), "subject"),
        (("directory", "--subject", "aaaaaaaa-0000-4000-8000-00000000000a"), "no stack"),
        (("https://nobody.invalid/ledger", "--subject", "aaaaaaaa-0000-4000-8000-00000000000a"), "--token-file"),
    ):
        refused = CliRunner().invoke(cli, ["ledger", "erase", *words, "--state", str(state)])
        assert (refused.exit_code != 0, says in refused.output) == (True, True), refused.output


class Keeper:
    """The process that keeps a log, as the command asks it."""

    def __init__(self) -> None:
        self.stated: list[object] = []
        self.away = False

    def post(self, path: str, body: object) -> None:
        assert path == "/ledger/reads"
        if self.away:
            raise SettingsError("127.0.0.1:7410 does not answer")
        self.stated.append(body)


def test_of_a_running_stack_nothing_is_shown_before_its_process_has_recorded_it(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper()
    monkeypatch.setattr(lock, "is_held", lambda _: True)
    monkeypatch.setattr(which, "keeper_of", lambda *_: keeper)
    run("show", "directory", "--state", state, "--limit", "2")
    run("prove", "directory", "event:12", "--state", state, "--out", tmp_path / "p")
    run("verify", "directory", "--state", state)
    run("export", "directory", "--state", state, "--out", tmp_path / "out", "--since", "290")
    assert keeper.stated == [
        {"command": "show", "first": 298, "count": 2, "payloads": True},
        {"command": "prove", "first": 11, "count": 1, "payloads": False},
        {"command": "verify", "first": 0, "count": 300, "payloads": True},
        {"command": "export", "first": 290, "count": 10, "payloads": False},
    ]
    keeper.away = True
    for words in (
        ("show", "directory"),
        ("prove", "directory", "event:12", "--out", str(tmp_path / "second")),
        ("export", "directory", "--out", str(tmp_path / "other")),
    ):
        refused = CliRunner().invoke(cli, ["ledger", *words, "--state", str(state)])
        assert (refused.exit_code, refused.stdout) == (1, ""), words
        assert "does not answer" in refused.stderr
    assert not (tmp_path / "second").exists()
    assert not (tmp_path / "other").exists()


def test_entries_that_speak_of_somebody_are_shown_the_newest_first(state: Path) -> None:
    ada = "aaaaaaaa-0000-4000-8000-00000000000a"
    with Log(Paths(state).ledger("directory"), SIGNER) as log:
        log.append({"s1": [msgspec.structs.replace(row, subject_id=ada) for row in rows(301, 3)]})
        log.append({"s1": rows(304, 300)})
        log.publish()
        assert log.erase(301)
    shown = json.loads(run("show", "directory", "--state", state, "--subject", ada, "--json"))
    assert [one["index"] for one in shown["entries"]] == [302, 300]
    assert (
        json.loads(run("show", "directory", "--state", state, "--subject", ada[:-1] + "b", "--json"))["entries"] == []
    )
    refused = CliRunner().invoke(cli, ["ledger", "show", "directory", "--state", str(state), "--subject", "ada"])
    assert refused.exit_code == 2


# --- witnesses -----------------------------------------------------------------------------------------------------------------


def entries_of(age_s: float, first: int, count: int) -> list[Recorded]:
    at_us = int((SystemClock().unix_s() - age_s) * 1e6)
    return [msgspec.structs.replace(row, at_us=at_us) for row in rows(first, count)]


def submitted(name: str, log: Path, witness: Witness, old: int) -> bytes:
    """The cosignature under a log's newest checkpoint, of a witness that has cosigned `old` entries."""
    line = witness.add(submission(log, old, signer_of(Paths(log.parents[1]), name)))
    assert isinstance(line, bytes), line
    return line


def signed(log: Path) -> bytes:
    return (log / "checkpoint").read_bytes()


def signer_of(paths: Paths, name: str) -> Signer:
    return Signer.parse(Secret(paths.signing_key(name).read_text()))


@pytest.fixture
def witnessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder as `domicile up` makes it. Of the log of eu-de eu and us have cosigned 300 entries; eu 305, whose last five are two
    minutes old; all 306 nobody."""
    unsynced(monkeypatch)
    paths = Paths(tmp_path / "state")
    paths.state.mkdir()
    keys.ensure(paths)
    (paths.state / "settings").mkdir()
    for name, text in render.settings(Layout(paths, fixed_ports(7400)), contracts="/x").items():
        paths.settings(name).write_text(text)
    stated = {name: load(paths.settings(f"witness-{name}"), WitnessSettings) for name in ("eu", "us")}
    eu, us = (Witness(Path(one.folder), one.cosigner(), one.known(), SystemClock()) for one in stated.values())
    folder = paths.ledger("cell-eu-de")
    (folder / "cosigned").mkdir(parents=True)
    with Log(folder, signer_of(paths, "cell-eu-de")) as log:
        log.append({"s1": entries_of(900, 1, 300)})
        log.publish()
        lines = [submitted("cell-eu-de", folder, one, 0) for one in (eu, us)]
        (folder / "cosigned/wide").write_bytes(signed(folder) + b"".join(lines))
        log.append({"s1": entries_of(120, 301, 5)})
        log.publish()
        (folder / "cosigned/near").write_bytes(signed(folder) + submitted("cell-eu-de", folder, eu, 300))
        log.append({"s1": entries_of(0, 306, 1)})
        log.publish()
    eu.close()
    us.close()
    return paths.state


def test_show_says_how_many_entries_each_quorum_has_cosigned_and_which_is_overdue(witnessed: Path) -> None:
    said = run("show", "eu-de", "--state", witnessed)
    near, wide = (next(line for line in said.splitlines() if line.startswith(one)) for one in ("near", "wide"))
    assert "305 of 306 entries, cosigned by domicile.local/witness-eu (" in near
    assert "OVERDUE" not in near
    assert "300 of 306 entries, cosigned by domicile.local/witness-eu (" in wide
    assert "domicile.local/witness-us (" in wide
    assert wide.endswith("s old, OVERDUE")
    told = json.loads(run("show", "eu-de", "--state", witnessed, "--json"))["cosigned"]
    assert (told["near"]["size"], told["near"]["overdue"], told["wide"]["size"], told["wide"]["overdue"]) == (
        305,
        False,
        300,
        True,
    )
    assert told["wide"]["beyond_s"] >= 120
    assert set(told["wide"]["by"]) == {"domicile.local/witness-eu", "domicile.local/witness-us"}


def test_a_proof_has_the_checkpoint_that_most_witnesses_stand_behind(witnessed: Path, tmp_path: Path) -> None:
    paths, proof = Paths(witnessed), tmp_path / "p"
    both = [word for name in ("eu", "us") for word in ("--witness", paths.ledger_key(f"witness-{name}"))]
    for event, size, by in ((300, 300, 2), (301, 305, 1), (306, 306, 0)):
        told = json.loads(run("prove", "eu-de", f"event:{event}", "--state", witnessed, "--out", proof, "--json"))
        assert (told["size"], told["index"], len(told["cosigned_by"])) == (size, event - 1, by)
        assert (
            "cosigned by" in run("verify", proof, "--key", paths.ledger_key("cell-eu-de"), *both, "--cosigned", str(by))
            or not by
        )
        refused = CliRunner().invoke(
            cli,
            [
                "ledger",
                "verify",
                str(proof),
                "--key",
                str(paths.ledger_key("cell-eu-de")),
                *map(str, both),
                "--cosigned",
                str(by + 1),
            ],
        )
        assert refused.exit_code == 1


def test_a_log_of_the_stack_is_verified_with_its_witnesses_and_asked_for_more_than_there_are(witnessed: Path) -> None:
    assert "305 entries cosigned by domicile.local/witness-eu" in run("verify", "eu-de", "--state", witnessed)
    assert "300 entries cosigned by" in run("verify", "eu-de", "--state", witnessed, "--cosigned", "2")
    told = json.loads(run("verify", "eu-de", "--state", witnessed, "--cosigned", "2", "--json"))["cosigned"]
    assert (told["size"], len(told["by"])) == (300, 2)
    for words, says in (
        (("--cosigned", "3"), "bears 3 cosignatures"),
        (("--cosigned", "4"), "4 goes with the keys of so many"),
        (("--witness", str(Paths(witnessed).ledger_key("witness-in"))), "bears 1 cosignatures"),
        (("--witness", str(Paths(witnessed).ledger_key("directory"))), "no public key of a witness"),
    ):
        refused = CliRunner().invoke(cli, ["ledger", "verify", "eu-de", "--state", str(witnessed), *words])
        assert (refused.exit_code, says in refused.output) == (1, True), refused.output


def test_a_witness_whose_time_no_calendar_has_is_shown_with_it(state: Path, tmp_path: Path) -> None:
    """Cosignatures may state any time below 2^63 (C2SP tlog-cosignature)."""
    folder, beyond = Paths(state).ledger("directory"), (1 << 63) - 1
    note = folder / "checkpoint"
    note.write_bytes(with_cosignatures(note.read_bytes(), "eu", at_s=beyond))
    (tmp_path / "eu.vkey").write_text(cosigner("eu").verifier.text)
    words = ("--state", state, "--witness", tmp_path / "eu.vkey")
    assert f"cosigned by witness.test/eu ({beyond} UTC)" in run("verify", "directory", *words)
    proof = tmp_path / "p"
    run("prove", "directory", "event:7", *words, "--out", proof)
    key = Paths(state).ledger_key("directory")
    assert str(beyond) in run("verify", proof, "--key", key, "--witness", tmp_path / "eu.vkey")


def test_status_names_the_logs_and_what_is_overdue(witnessed: Path) -> None:
    paths = Paths(witnessed)
    paths.stack.write_bytes(render.stack(Layout(paths, fixed_ports(7400)), "ready", None, {}))
    told = json.loads(CliRunner().invoke(cli, ["status", "--state", str(witnessed), "--json"]).output)["ledgers"]
    assert [(one["log"], one["size"], one["mistake"]) for one in told] == [("eu-de", 306, None)]
    said = CliRunner().invoke(cli, ["status", "--state", str(witnessed)]).output
    assert "wide quorum overdue" in said
    assert "near quorum overdue" not in said
    (paths.ledger("cell-eu-de") / "checkpoint").write_text("x")
    assert "does not hold" in CliRunner().invoke(cli, ["status", "--state", str(witnessed)]).output


def test_a_witness_shows_what_it_has_cosigned_and_who_has_lied_to_it(witnessed: Path, tmp_path: Path) -> None:
    told = json.loads(run("witness", "show", "eu", "--state", witnessed, "--json"))
    sizes = {one["log"].removeprefix("domicile.local/"): one["size"] for one in told["logs"]}
    assert sizes == {name: 305 if name == "cell-eu-de" else 0 for name in ledgers()}
    paths = Paths(witnessed)
    assert "domicile.local/cell-eu-de" in run("witness", "show", paths.settings("witness-us"))
    forked = tmp_path / "forked"
    written(forked, 305, signer=signer_of(paths, "cell-eu-de"))
    stated = load(paths.settings("witness-eu"), WitnessSettings)
    again = Witness(Path(stated.folder), stated.cosigner(), stated.known(), SystemClock())
    again.add(submission(forked, 305, signer_of(paths, "cell-eu-de")))
    again.close()
    shown = CliRunner().invoke(cli, ["ledger", "witness", "show", "eu", "--state", str(witnessed)])
    assert (shown.exit_code, "FORK" in shown.output) == (1, True)
    nobody = CliRunner().invoke(cli, ["ledger", "witness", "show", "fr", "--state", str(witnessed)])
    assert (nobody.exit_code, "no region of the stack" in nobody.output) == (1, True)


def test_a_new_key_of_a_witness_is_one_and_a_wrong_setting_is_one_line(tmp_path: Path) -> None:
    made = json.loads(run("witness", "key", "witness.example.com/eu", "--out", tmp_path / "key", "--json"))
    assert Cosigner.parse(Secret((tmp_path / "key").read_text())).verifier.text == made["public"]
    (tmp_path / "w.toml").write_text(
        f'host = "127.0.0.1"\nport = 1\nname = "other"\nkey_file = "{tmp_path}/key"\nfolder = "{tmp_path}/w"\nlogs = []\n'
    )
    refused = CliRunner().invoke(cli, ["ledger", "witness", "serve", "--settings", str(tmp_path / "w.toml")])
    assert refused.exit_code == 2
    assert not (tmp_path / "w").exists()
