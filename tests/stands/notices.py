"""Notices to subjects: a log that holds some among other entries, and what their receiver does with them."""

import base64
import hmac
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from click.testing import CliRunner

from foundation.ledger.entries import Recorded
from foundation.ledger.export.forms import Form, Format
from gateway.cli.main import cli
from tests.stands.ledger import SIGNER, rows

ADA, BEN = "0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77", "1c5b2e7f-52b1-4c59-9a35-0a2f6a1d3c77"
VERIFIER = Path(__file__).parents[2] / "deploy" / "verify" / "verify.py"
NOTICES = Form(Format.NOTICES, True, SIGNER.verifier.name, "0.1.0")
KEYS = (b"k" * 24, b"l" * 32)


def notice(position: int, subject: str) -> Recorded:
    """As a session's end leaves one."""
    return Recorded(
        position=position,
        id=f"notice:{position}:{subject}",
        at_us=1_800_000_000_000_000 + position,
        kind="notice",
        actor="engineer:alice",
        subject_id=subject,
        details=msgspec.Raw(b'{"session":"%d","statements":2}' % position),
    )


def mixed(first: int, *subjects: str, between: int = 5) -> list[Recorded]:
    """Rows from a position on: a notice to each subject, and others before each."""
    found = list[Recorded]()
    for number, subject in enumerate(subjects):
        at = first + number * (between + 1)
        found += [*rows(at, between), notice(at + between, subject)]
    return found


def keys_in(folder: Path) -> Path:
    """The file that a sender signs by."""
    path = folder / "webhooks.keys"
    path.touch(mode=0o600)
    path.write_text("".join(f"whsec_{base64.b64encode(key).decode()}\n" for key in KEYS))
    return path


def is_signed(key: bytes, headers: Mapping[str, str], body: bytes) -> bool:
    """As a receiver's library looks at it."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, "sha256").digest()).decode()
    return expected in headers["webhook-signature"].split(" ")


def verified(folder: Path, told: Mapping[str, Any]) -> None:
    """A notice held against the log's public key: by the verifier that imports nothing of the product, and by the command. Each finds what
    was changed."""
    key, proof, opening = folder / "told.vkey", folder / "told.tlog-proof", folder / "told.opening"
    key.write_text(SIGNER.verifier.text)
    proof.write_text(told["proof"])
    opening.write_bytes(base64.b64decode(told["opening"]))
    assert _status(proof, opening, key) == [0, 0]
    shown = json.loads(_by_command(proof, opening, key)[1])["payload"]
    assert shown == {name: told[name] for name in ("id", "actor", "subject_id", "details")}
    opening.write_bytes(opening.read_bytes().replace(b"engineer:alice", b"engineer:alicf"))
    assert _status(proof, opening, key) == [1, 1]


def _status(proof: Path, opening: Path, key: Path) -> list[int]:
    words = ["proof", str(proof), "--key", str(key), "--payload", str(opening)]
    alone = subprocess.run([sys.executable, str(VERIFIER), *words], capture_output=True, check=False)
    return [alone.returncode, _by_command(proof, opening, key)[0]]


def _by_command(proof: Path, opening: Path, key: Path) -> tuple[int, str]:
    words = ["ledger", "verify", str(proof), "--key", str(key), "--payload", str(opening), "--json"]
    done = CliRunner().invoke(cli, words)
    return done.exit_code, done.output
