"""The stand-alone verifier: a process of its own, proofs, keys. What is done to logs is in test_ledger_tampering.py."""

import ast
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.verify import verify
from foundation.ledger import checkpoints, entries, payloads
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.entries import MalformedEntry
from foundation.ledger.merkle import leaf_hash
from foundation.ledger.notes import Signer
from foundation.ledger.proofs import Proof
from foundation.ledger.reading import LogReader, of_folder
from foundation.mute import Secret
from gateway.cli.main import cli
from tests.stands.ledger import SIGNER, copied, reader, written
from tests.stands.ledger_judges import Judge, alone, product
from tests.stands.witnesses import NAMES, cosigner, with_cosignatures

SIZE = 700
"""Entries: two bundles and a part of one, so two levels of tiles."""
VERIFY = Path(verify.__file__)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log, its key, and a checkpoint of when it was shorter."""
    folder = tmp_path_factory.mktemp("made")
    notes = written(folder / "log", 400, SIZE - 400)
    (folder / "key").write_text(SIGNER.verifier.text)
    (folder / "earlier").write_bytes(notes[1])
    return folder


def as_process(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """From elsewhere, isolated from this checkout's folder and the environment."""
    command = [sys.executable, "-I", str(VERIFY), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd="/")


def test_as_a_process_it_verifies_a_log_and_says_what_it_read(made: Path, tmp_path: Path) -> None:
    ran = as_process(
        "log", made / "log", "--key", made / "key", "--since", made / "earlier", "--save", tmp_path / "saved"
    )
    assert ran.returncode == 0, ran.stderr
    assert f"{SIGNER.verifier.name}: {SIZE} entries" in ran.stdout
    assert "goes on from 400 entries" in ran.stdout
    assert f"{SIZE} payloads fit" in ran.stdout
    assert (tmp_path / "saved").read_bytes() == (made / "log/checkpoint").read_bytes()
    broken = copied(made / "log", tmp_path / "broken")
    (broken / "tile/entries/001").unlink()
    ran = as_process("log", broken, "--key", made / "key")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "entries/001" in ran.stderr


def test_as_a_process_it_verifies_a_proof_and_its_payload_and_no_other(made: Path, tmp_path: Path) -> None:
    found = reader(made / "log").find("event:300")
    assert found is not None
    (tmp_path / "a.tlog-proof").write_bytes(reader(made / "log").prove(found).render())
    opening = payloads.read(made / "log", found.index)
    assert opening is not None
    (tmp_path / "payload").write_bytes(opening)
    (tmp_path / "other").write_bytes(payloads.read(made / "log", 1) or b"")
    key = ("--key", made / "key")
    ran = as_process("proof", tmp_path / "a.tlog-proof", *key, "--payload", tmp_path / "payload")
    assert ran.returncode == 0, ran.stderr
    assert f"entry 299 of {SIZE}" in ran.stdout
    assert '"id":"event:300"' in ran.stdout
    assert as_process("proof", tmp_path / "a.tlog-proof", *key, "--payload", tmp_path / "other").returncode == 1
    (tmp_path / "b").write_bytes((tmp_path / "a.tlog-proof").read_bytes().replace(b"index 299", b"index 298"))
    assert as_process("proof", tmp_path / "b", *key).returncode == 1
    assert as_process("proof", tmp_path / "a.tlog-proof").returncode == 2


def test_it_imports_nothing_of_the_product_and_can_be_read_in_a_sitting() -> None:
    text = VERIFY.read_text(encoding="utf-8")
    imported = imports_of(text)
    assert imported - set(sys.stdlib_module_names) == {"cryptography"}
    assert not imported & {"importlib", "runpy", "subprocess"}
    assert "__import__" not in text
    assert len(text.splitlines()) <= 400
    assert "foundation" in imports_of(f"{text}\n\ndef late() -> None:\n    from foundation.ledger import merkle\n")


def imports_of(text: str) -> set[str]:
    """The packages that a module's text imports anywhere, relative ones as nothing."""
    found = set[str]()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                found |= {one.name.partition(".")[0] for one in names}
            case ast.ImportFrom(module=module, level=level):
                found.add((module or "").partition(".")[0] if not level else "")
    return found


@pytest.mark.parametrize("index", [0, 1, 255, 256, 511, 512, SIZE - 1])
def test_every_bit_of_a_proof_that_is_another_spoils_it(
    made: Path, tmp_path: Path, index: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = next(one for one in reader(made / "log").newest() if one.index == index)
    whole = reader(made / "log").prove(found).render()
    chance = random.Random(index)
    file = tmp_path / "p"
    words = ["proof", str(file), "--key", str(made / "key")]
    file.write_bytes(whole)
    assert verify.main(words) == 0
    for bit in chance.sample(range(len(whole) * 8), 100):
        raw = bytearray(whole)
        raw[bit // 8] ^= 1 << bit % 8
        file.write_bytes(raw)
        assert verify.main(words) == 1, (bit, capsys.readouterr())


ENTRY = {"at_us": 7, "commitment": "0" * 64, "event": "1" * 64, "kind": "fence", "position": 1, "source": "s1"}


def proof_of(folder: Path, raw: bytes) -> list[str]:
    """What verifies the proof of a log whose one entry has these bytes."""
    note = checkpoints.signed(Checkpoint(SIGNER.verifier.name, 1, leaf_hash(raw)), SIGNER)
    (folder / "p").write_bytes(Proof(0, (), note, raw).render())
    (folder / "key").write_text(SIGNER.verifier.text)
    return ["proof", str(folder / "p"), "--key", str(folder / "key")]


@pytest.mark.parametrize(
    ("of", "value"),
    [
        ("at_us", 1.0), ("at_us", float("nan")), ("at_us", 1e300), ("at_us", True), ("at_us", "7"), ("at_us", (1 << 53) + 1),
        ("position", 1.5), ("count", 2.0), ("count", None), ("kind", 7), ("source", ["s1"]), ("event", None),
        ("count", 0), ("event", "x"), ("commitment", ""), ("commitment", "A" * 64),
    ],
)  # fmt: skip
def test_an_entry_that_says_something_of_another_sort_is_refused_by_both(
    tmp_path: Path, of: str, value: object
) -> None:
    whole: dict[str, object] = ENTRY | ({"count": 2, "root": "2" * 64} if of == "count" else {})
    for members, holds in ((whole, True), (whole | {of: value}, False)):
        raw = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
        assert (verify.main(proof_of(tmp_path, raw)) == 0) == holds
        with nullcontext() if holds else pytest.raises(MalformedEntry):
            entries.parse(raw)


def test_an_entry_nested_too_deeply_is_refused_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main(proof_of(tmp_path, b"[" * 60_000)) == 1
    assert "is no JSON" in capsys.readouterr().err


@pytest.mark.parametrize("judge", [alone, product])
def test_a_log_of_another_key_or_name_is_refused(made: Path, tmp_path: Path, judge: Judge) -> None:
    for number, signer in enumerate(
        (Signer(SIGNER.verifier.name, Secret(b"o" * 32)), Signer("other.test/log", Secret(b"t" * 32)))
    ):
        written(tmp_path / str(number), 10, signer=signer)
        assert judge(tmp_path / str(number), made / "key", made / "earlier") == 1


def garbled(path: Path) -> None:
    path.write_bytes(b"\xff\x00garbage" * 40)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "name", ["checkpoint", "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2", "tile/entries/000", "payload/001"]
)
@pytest.mark.parametrize("fault", [Path.unlink, garbled, empty])
def test_a_file_that_is_missing_or_garbage_is_named_in_one_line(
    made: Path, tmp_path: Path, name: str, fault: Callable[[Path], None]
) -> None:
    log = copied(made / "log", tmp_path / "log")
    fault(log / name)
    ran = as_process("log", log, "--key", made / "key")
    if name.startswith("payload/") and fault is not garbled:  # as payloads that were erased, or never copied
        assert (ran.returncode, "256 are not here" in ran.stdout) == (0, True), ran
        return
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (1, "", 1), ran
    assert ran.stderr.startswith("does not hold: ")
    assert any(part in ran.stderr for part in (name.partition(".p")[0], "bundle 0"))


def test_what_a_stranger_gets_wrong_is_one_line_and_never_a_key(made: Path, tmp_path: Path) -> None:
    (tmp_path / "private").write_text(SIGNER.text.reveal())
    (tmp_path / "garbage").write_text("garbage+0123+no base64")
    (tmp_path / "long").write_bytes((made / "log/checkpoint").read_bytes() + "— other.test AAAAAAA=\n".encode() * 8_000)
    key = ("--key", made / "key")
    for words, says in (
        (("log", tmp_path / "nowhere", *key), "checkpoint cannot be read"),
        (("log", tmp_path, *key), "checkpoint cannot be read"),
        (("log", tmp_path / ("x" * 300), *key), "File name too long"),
        (("log", made / "log", "--key", tmp_path / "private"), "holds no Ed25519 key of a log"),
        (("log", made / "log", "--key", tmp_path / "nowhere"), "nowhere cannot be read"),
        (("log", made / "log", "--key", tmp_path / "garbage"), "holds no Ed25519 key of a log"),
        (("log", made / "log", *key, "--witness", made / "key"), "holds no Ed25519 key of a witness"),
        (("log", made / "log", *key, "--cosigned", "-1"), "--cosigned is below 0"),
        (("log", made / "log", *key, "--since", tmp_path / "long"), "is no signed note"),
        (("log", made / "log", *key, "--since", made / "key"), "is no signed note"),
        (("proof", made / "log/checkpoint", *key), "is no c2sp.org/tlog-proof@v1"),
        (("proof", made / "log", *key), "cannot be read"),
    ):
        ran = as_process(*words)
        assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (1, "", 1), ran
        assert says in ran.stderr
        assert SIGNER.text.reveal()[-20:] not in ran.stderr
    ran = as_process("log", made / "log", *key, "--save", tmp_path / "no" / "where")
    assert (ran.returncode, ran.stderr.startswith("cannot be read or written: ")) == (1, True), ran


# --- cosignatures ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cosigned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log of which eu and us have cosigned the first 400 entries, eu also all; with all keys, also that of `in`."""
    folder = tmp_path_factory.mktemp("cosigned")
    notes = written(folder / "log", 400, SIZE - 400)
    (folder / "key").write_text(SIGNER.verifier.text)
    for name in NAMES:
        (folder / f"{name}.vkey").write_text(cosigner(name).verifier.text)
    (folder / "log/cosigned").mkdir()
    (folder / "log/cosigned/wide").write_bytes(with_cosignatures(notes[1], "eu", "us"))
    (folder / "log/cosigned/near").write_bytes(with_cosignatures(notes[2], "eu"))
    return folder


def alone_with(made: Path, target: Path, *words: str) -> tuple[int, str]:
    kind = "log" if target.is_dir() else "proof"
    ran = as_process(kind, target, "--key", made / "key", *words)
    return ran.returncode, ran.stdout + ran.stderr


def product_with(made: Path, target: Path, *words: str) -> tuple[int, str]:
    ran = CliRunner().invoke(cli, ["ledger", "verify", str(target), "--key", str(made / "key"), *words])
    return ran.exit_code, ran.output


Told = Callable[..., tuple[int, str]]
both = pytest.mark.parametrize("judge", [alone_with, product_with])


def by(made: Path, *names: str) -> list[str]:
    return [word for name in names for word in ("--witness", str(made / f"{name}.vkey"))]


@both
def test_the_largest_checkpoint_that_enough_witnesses_have_cosigned_is_found(cosigned: Path, judge: Told) -> None:
    log = cosigned / "log"
    for words, size in (
        (by(cosigned, "eu"), SIZE),
        (by(cosigned, "eu", "us"), 400),
        ([*by(cosigned, *NAMES), "--cosigned", "2"], 400),
        ([*by(cosigned, *NAMES), "--cosigned", "1"], SIZE),
    ):
        status, said = judge(cosigned, log, *words)
        assert status == 0, said
        assert f"{size} entries cosigned by witness.test/eu" in said
    for words in (by(cosigned, *NAMES), by(cosigned, "in"), [*by(cosigned, "us", "in"), "--cosigned", "2"]):
        status, said = judge(cosigned, log, *words)
        assert (status, "no checkpoint of the log bears" in said) == (1, True), said
    assert judge(cosigned, log)[0] == 0


@both
def test_one_witness_is_not_counted_twice(cosigned: Path, judge: Told, tmp_path: Path) -> None:
    log = copied(cosigned / "log", tmp_path / "log")
    (log / "cosigned/wide").write_bytes(with_cosignatures((log / "checkpoint").read_bytes(), "eu", "eu"))
    assert judge(cosigned, log, *by(cosigned, "eu", "us"))[0] == 1
    assert judge(cosigned, log, *by(cosigned, "eu", "eu"))[0] == 1
    assert judge(cosigned, log, *by(cosigned, "eu", "us"), "--cosigned", "1")[0] == 0


@both
def test_a_log_that_was_rewritten_under_its_own_key_has_no_cosigned_checkpoint_that_it_goes_on_from(
    cosigned: Path, judge: Told, tmp_path: Path
) -> None:
    for number, sizes in enumerate(((SIZE,), (399,), (SIZE + 50,))):
        rewritten = tmp_path / f"{number}"
        written(rewritten, *sizes)
        assert judge(cosigned, rewritten)[0] == 0
        assert judge(cosigned, rewritten, *by(cosigned, "eu", "us"))[0] == 1
        shutil.copytree(cosigned / "log/cosigned", rewritten / "cosigned")
        assert judge(cosigned, rewritten, *by(cosigned, "eu", "us"))[0] == 1


@both
def test_every_bit_of_a_cosigned_note_that_is_another_spoils_it(cosigned: Path, judge: Told, tmp_path: Path) -> None:
    log, chance = copied(cosigned / "log", tmp_path / "log"), random.Random(3)
    file = log / "cosigned/wide"
    whole = file.read_bytes()
    words = by(cosigned, "eu", "us")
    assert judge(cosigned, log, *words)[0] == 0
    for bit in chance.sample(range(len(whole) * 8), 12):
        raw = bytearray(whole)
        raw[bit // 8] ^= 1 << bit % 8
        file.write_bytes(raw)
        assert judge(cosigned, log, *words)[0] == 1, bit


@both
def test_a_proof_counts_by_the_cosignatures_of_its_own_checkpoint(cosigned: Path, judge: Told, tmp_path: Path) -> None:
    log, proof = cosigned / "log", tmp_path / "p"
    found = reader(log).find("event:7")
    assert found is not None
    wide = LogReader(of_folder(log), SIGNER.verifier, (log / "cosigned/wide").read_bytes())
    proof.write_bytes(wide.prove(found).render())
    status, said = judge(cosigned, proof, *by(cosigned, "eu", "us"))
    assert (status, "cosigned by witness.test/eu" in said) == (0, True), said
    assert judge(cosigned, proof, *by(cosigned, *NAMES), "--cosigned", "2")[0] == 0
    assert judge(cosigned, proof, *by(cosigned, *NAMES))[0] == 1
    assert judge(cosigned, proof, *by(cosigned, "in"))[0] == 1
    proof.write_bytes(reader(log).prove(found).render())
    assert judge(cosigned, proof)[0] == 0
    assert judge(cosigned, proof, *by(cosigned, "eu"))[0] == 1
