"""Notices on their way to whom they are for: each whole, by itself, with a proof that is held against nothing but the log's public key."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from foundation.clock import ManualClock
from foundation.ledger import metrics
from foundation.ledger.export import following, position, taking
from foundation.ledger.export.following import Counted, Follower
from foundation.ledger.export.sinks import FileSink
from foundation.ledger.export.taking import batches, openings_in
from foundation.ledger.log import Log
from foundation.settings import SettingsError
from foundation.webhooks import Signing
from gateway.cli.main import cli
from tests.stands.ledger import SIGNER, reader, unsynced
from tests.stands.notices import ADA, BEN, KEYS, NOTICES, is_signed, keys_in, mixed, verified

pytestmark = pytest.mark.anyio
ORIGIN = SIGNER.verifier.name


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)


def written(folder: Path, *subjects: str, between: int = 5) -> None:
    with Log(folder / "log", SIGNER) as log:
        log.append({"access.door": mixed(log.seen("access.door").position + 1, *subjects, between=between)})
        log.publish()


def follower(folder: Path, *, subjects: frozenset[str] = frozenset(), counted: Counted | None = None) -> Follower:
    sink = FileSink(folder / "out", ORIGIN, rotate_bytes=1 << 30, keep=1)
    form = NOTICES._replace(subjects=subjects)
    return Follower("told", folder / "log", SIGNER.verifier, form, sink, since=0, counted=counted)


def behind() -> float:
    """How many signed entries the metric says are not given out."""
    return float(metrics.EXPORT_BEHIND.labels("told")._value.get())


async def drained(one: Follower) -> None:
    while await one.once():
        pass


def told(folder: Path) -> list[dict[str, Any]]:
    out = folder / "out"
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


async def test_each_notice_is_told_once_in_order_and_can_be_verified_by_itself(tmp_path: Path) -> None:
    written(tmp_path, ADA, BEN, ADA)
    await drained(follower(tmp_path))
    assert [(one["subject_id"], one["index"]) for one in told(tmp_path)] == [(ADA, 5), (BEN, 11), (ADA, 17)]
    written(tmp_path, BEN)
    await drained(follower(tmp_path))
    ids = [f"notice:{6 * number}:{subject}" for number, subject in enumerate((ADA, BEN, ADA, BEN), start=1)]
    assert [one["id"] for one in told(tmp_path)] == ids
    for one in told(tmp_path):
        verified(tmp_path, one)


async def test_a_notice_says_nothing_of_anybody_else_and_goes_to_those_alone_that_are_named(tmp_path: Path) -> None:
    written(tmp_path, ADA, BEN, ADA, BEN)
    await drained(follower(tmp_path, subjects=frozenset({BEN})))
    lines = (tmp_path / "out").read_text()
    assert [one["subject_id"] for one in told(tmp_path)] == [BEN, BEN]
    assert ADA not in lines
    assert "placement" not in lines


async def test_of_a_notice_that_was_erased_nothing_is_told_and_the_next_one_is(tmp_path: Path) -> None:
    written(tmp_path, ADA, BEN)
    with Log(tmp_path / "log", SIGNER) as log:
        assert log.erase(5) == 1
    await drained(follower(tmp_path))
    assert [one["subject_id"] for one in told(tmp_path)] == [BEN]


async def test_nothing_is_told_before_it_stands_in_the_checkpoint_that_counts(tmp_path: Path) -> None:
    written(tmp_path, ADA)
    first = (tmp_path / "log" / "checkpoint").read_bytes()
    written(tmp_path, BEN)
    counts: list[bytes] = []
    one = follower(tmp_path, counted=lambda: counts[-1] if counts else None)
    await drained(one)
    assert (told(tmp_path), behind()) == ([], 12)
    counts.append(first)
    await drained(one)
    assert ([said["subject_id"] for said in told(tmp_path)], behind()) == ([ADA], 6)
    assert told(tmp_path)[0]["proof"].encode().endswith(first)
    counts.append((tmp_path / "log" / "checkpoint").read_bytes())
    await drained(one)
    assert ([said["subject_id"] for said in told(tmp_path)], behind()) == ([ADA, BEN], 0)


async def test_what_is_passed_over_is_bounded_in_a_look_and_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (following, taking):
        monkeypatch.setattr(module, "PASSED_MAX", 64)
    written(tmp_path, ADA, between=300)
    found = list(batches(reader(tmp_path / "log"), NOTICES, openings_in(tmp_path / "log"), 0))
    assert [(one.first, len(one.lines), one.following) for one in found] == [
        *((at, 0, at + 64) for at in range(0, 256, 64)),
        (300, 1, 301),
    ]
    one = follower(tmp_path)
    assert await one.once()
    assert position.read(tmp_path / "out.position", ORIGIN) == 64, "so much is not looked at again"
    await drained(one)
    written(tmp_path, BEN, between=50)
    await drained(one)
    assert [said["index"] for said in told(tmp_path)] == [300, 351]


async def test_a_proof_that_does_not_hold_is_not_given_out(tmp_path: Path) -> None:
    written(tmp_path, ADA, between=300)
    tile = tmp_path / "log" / "tile/1/000.p/1"
    tile.write_bytes(bytes(len(tile.read_bytes())))
    one = follower(tmp_path)
    with pytest.raises(following._UNREADABLE):
        await drained(one)
    assert told(tmp_path) == []


def test_the_command_gives_notices_into_a_file_and_to_no_url(tmp_path: Path) -> None:
    written(tmp_path, ADA, BEN)
    (tmp_path / "log.vkey").write_text(SIGNER.verifier.text)
    words = ["ledger", "export", str(tmp_path / "log"), "--key", str(tmp_path / "log.vkey"), "--format", "notices"]
    done = CliRunner().invoke(cli, [*words, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert [one["subject_id"] for one in told(tmp_path)] == [ADA, BEN]
    verified(tmp_path, told(tmp_path)[1])
    refused = CliRunner().invoke(cli, [*words, "--to", "http://127.0.0.1:1/in"])
    assert refused.exit_code == 2
    assert "payloads go with --out" in refused.output


def test_a_message_is_signed_by_each_key_and_whatever_of_it_is_changed_shows(tmp_path: Path) -> None:
    clock = ManualClock(1_800_000_000.9)
    head = Signing(keys_in(tmp_path), clock).headers("notice:1", b'{"a":1}')
    assert (head["webhook-id"], head["webhook-timestamp"]) == ("notice:1", "1800000000")
    assert all(is_signed(key, head, b'{"a":1}') for key in KEYS)
    assert not is_signed(b"m" * 24, head, b'{"a":1}')
    assert not is_signed(KEYS[0], head, b'{"a":2}')
    for name in ("webhook-id", "webhook-timestamp"):
        assert not is_signed(KEYS[0], head | {name: head[name] + "0"}, b'{"a":1}')


@pytest.mark.parametrize("content", ["", "whsec_", "whsec_!", "whsec_c2hvcnQ=", "\n".join(["whsec_" + "a" * 32] * 5)])
def test_a_file_that_holds_no_keys_signs_nothing(tmp_path: Path, content: str) -> None:
    path = keys_in(tmp_path)
    path.write_text(content)
    with pytest.raises(SettingsError, match="secret file"):
        Signing(path, ManualClock()).headers("notice:1", b"{}")
