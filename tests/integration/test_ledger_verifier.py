"""The stand-alone verifier: a process of its own, proofs, keys. What is done to logs is in test_ledger_tampering.py."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.verify import verify
from foundation.ledger import payloads
from foundation.ledger.notes import Signer
from foundation.mute import Secret
from tests.stands.ledger import SIGNER, copied, reader, written
from tests.stands.ledger_judges import Judge, alone, product

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
    imported = {line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert imported - set(sys.stdlib_module_names) == {"cryptography"}
    assert len(text.splitlines()) <= 400


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


@pytest.mark.parametrize("judge", [alone, product])
def test_a_log_of_another_key_or_name_is_refused(made: Path, tmp_path: Path, judge: Judge) -> None:
    for number, signer in enumerate(
        (Signer(SIGNER.verifier.name, Secret(b"o" * 32)), Signer("other.test/log", Secret(b"t" * 32)))
    ):
        written(tmp_path / str(number), 10, signer=signer)
        assert judge(tmp_path / str(number), made / "key", made / "earlier") == 1
