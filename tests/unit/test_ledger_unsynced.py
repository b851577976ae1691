"""A sync that fails once: what it was to make durable does not count as durable when a later one succeeds.

The log is opened anew by the same process, and whenever the power fails after that it has what was acknowledged, goes on from what was
signed, and keeps what was erased erased.
"""

import errno
import os
from itertools import count
from pathlib import Path

import msgspec
import pytest

from foundation.ledger import ahead, payloads, segments
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.entries import Recorded
from foundation.ledger.erasing import Job, digest_of, step
from foundation.ledger.files import LogDamaged
from foundation.ledger.log import Log, LogBroken
from foundation.ledger.port import Kind
from tests.stands.ledger import SIGNER, Later, copied, reader, rows, unsynced, written
from tests.stands.ledger_disk import Crash, Forgetful, Steps

NEVER = 1 << 30
STEP = int(os.environ.get("LEDGER_UNSYNCED_STEP", "6"))
"""Besides those of write-ahead files every so manieth sync is looked at."""
ADA = "aaaaaaaa-0000-4000-8000-00000000000a"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)


class Writer:
    """Opens its log anew after a fault, as the drain does. What it has told so far, and after how many syncs the fault came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept = 0
        self.signed: list[Checkpoint] = []
        self.fault_at: int | None = None

    def run(self, steps: Steps) -> None:
        try:
            self._write()
        except OSError:
            self.fault_at = len(steps.synced)
            self._write()

    def _write(self) -> None:
        with Log(self.folder, SIGNER, aside=lambda: Later(0)) as log:
            self.kept = max(self.kept, log.size)
            for number in (3, 4):
                log.append({"s1": rows(log.size + 1, number)})
                self.kept = log.size
                self.signed.append(log.publish())


def written_until(folder: Path, *, ill: int, until: int) -> tuple[Writer, Forgetful, Steps]:
    """A writer of whose syncs one fails, stopped at a step; what a power cut would leave, and the steps that it took."""
    writer, disk = Writer(folder), Forgetful(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead, "FILES_MAX", 2)
        steps = Steps(patch, until, disk, ill=ill)
        try:
            writer.run(steps)
        except Crash:
            assert steps.left == 0
    return writer, disk, steps


def holds(writer: Writer, folder: Path) -> None:
    with Log(folder, SIGNER) as log:
        assert log.size >= writer.kept
        assert log.seen("s1").position == log.size
        log.append({"s1": rows(log.size + 1, 1)})
        log.publish()
    assert reader(folder).verify(writer.signed[-1] if writer.signed else None, folder).without == 0


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    written(folder, 20)
    return folder


def some(steps: Steps, since: int = 0) -> list[int]:
    """The numbers of the syncs that are looked at."""
    numbered = enumerate(name for _, name in steps.synced)
    return [number for number, name in numbered if number >= since and (name.startswith("wal-") or number % STEP == 0)]


def ills(base: Path) -> list[int]:
    """Those syncs of a writer that are to fail."""
    writer, disk, steps = written_until(copied(base, base.with_name("well")), ill=-1, until=NEVER)
    disk.close()
    assert writer.fault_at is None
    return some(steps)


def power_cuts(base: Path, ill: int) -> None:
    """A sync fails; then the power does, after one of those that follow while the log is opened anew and goes on, in turn with and without
    the names that were not synced."""
    writer, disk, steps = written_until(copied(base, base.with_name(f"{ill}")), ill=ill, until=NEVER)
    disk.close()
    if writer.fault_at is None:
        return  # aside of the last call
    for number in some(steps, writer.fault_at):
        until, _ = steps.synced[number]
        writer, disk, _ = written_until(copied(base, base.with_name(f"{ill}-{number}")), ill=ill, until=until)
        left = disk.left(base.with_name(f"{ill}-{number}-power"), names=number % 2 == 0)
        disk.close()
        holds(writer, left)


def each_fails(base: Path) -> None:
    failing = ills(base)
    assert len(failing) > 5
    for ill in failing:
        power_cuts(base, ill)


def test_whichever_sync_fails_the_log_holds_whenever_the_power_fails_after_it_was_opened_anew(base: Path) -> None:
    each_fails(base)


def test_a_log_that_goes_on_beside_a_file_whose_sync_failed_is_found(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vacant = segments.vacant
    monkeypatch.setattr(segments, "vacant", lambda folder: max(0, vacant(folder) - 1))
    with pytest.raises(LogDamaged):
        each_fails(base)


# --- erasing ---------------------------------------------------------------------------------------------------------------------


def spoken_of(position: int) -> Recorded:
    """Many in a row that become one entry, one of them about Ada; then one by itself about her."""
    (row,) = rows(position, 1)
    kind = Kind.REFUSAL.value if position <= 20 else row.kind
    return msgspec.structs.replace(row, kind=kind, subject_id=ADA if position in (7, 25) else None)


def test_what_was_erased_stays_erased_when_the_power_fails_though_a_sync_of_it_had_failed(tmp_path: Path) -> None:
    base = tmp_path / "spoken"
    with Log(base, SIGNER) as log:
        log.append({"s1": [spoken_of(position) for position in range(1, 31)]})
        through = log.publish().size
    for ill in count():
        job = Job(id="one", subject=digest_of(ADA), actor="operator:ann", through=through)
        folder = copied(base, tmp_path / f"{ill}")
        disk, faults = Forgetful(folder), 0
        with pytest.MonkeyPatch.context() as patch:
            Steps(patch, NEVER, disk, ill=ill)
            while not job.finished:
                try:
                    with Log(folder, SIGNER, aside=lambda: Later(0)) as log:
                        while not job.finished:
                            job = step(log, folder, job)
                except OSError:
                    faults += 1
        left = disk.left(tmp_path / f"{ill}-power", names=True)
        disk.close()
        assert job.erased == 2
        assert not any(ADA.encode() in path.read_bytes() for path in left.rglob("*") if path.is_file())
        if not faults:
            break
    assert ill > 5


def test_a_fault_while_payloads_are_erased_stops_the_log_until_it_was_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ill(_: int) -> None:
        raise OSError(errno.EIO, "the disk is ill")

    with Log(tmp_path, SIGNER) as log:
        log.append({"s1": rows(1, 10)})
        with monkeypatch.context() as patch:
            patch.setattr(payloads, "datasync", ill)
            with pytest.raises(OSError, match="ill"):
                log.erase(3)
        for call in (lambda: log.append({"s1": rows(11, 1)}), log.publish, lambda: log.erase(3)):
            with pytest.raises(LogBroken):
                call()
    with Log(tmp_path, SIGNER) as again:
        assert again.erase(3) == 1
    assert reader(tmp_path).verify(folder=tmp_path).without == 1
