"""A log on disks that are full indeed, read-only or gone, in a process without descriptors: each a clear error, nothing lost, and on.

What is real: a tmpfs and an ext4 of their own, filled to the last block (as root, where mounting is allowed); for everybody `/dev/full` in
the place of each file that is written (the kernel's own ENOSPC); limits of the process; permissions that the kernel checks (a process of
root takes another user for them). tests/unit/test_ledger_log.py has a limit on the size of files besides.
"""

import asyncio
import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import pytest

from foundation.ledger import checkpoints, segments
from foundation.ledger import log as log_module
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.draining import drain
from foundation.ledger.files import LogDamaged
from foundation.ledger.log import Log, LogBroken
from foundation.tasks import Backoff
from tests.stands.ledger import SIGNER, Outbox, copied, reader, rows, sources_in, unsynced, written
from tests.stands.waiting import eventually

NOBODY = 65_534
ROUNDS_MAX = 10_000


class Written:
    """A log that is written until the disk takes no more, and what it has told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept = 0
        self.signed: list[Checkpoint] = []

    def until_it_fails(self) -> OSError:
        with Log(self.folder, SIGNER) as log:
            with pytest.raises(OSError, match=r"\[Errno") as failed:
                self._rounds(log)
            for call in (log.publish, lambda: log.append({"s1": rows(self.kept + 1, 1)})):
                with pytest.raises(LogBroken):
                    call()
        return failed.value

    def _rounds(self, log: Log) -> None:
        self.kept = log.size
        for _ in range(ROUNDS_MAX):
            self.one_round(log, 7)

    def one_round(self, log: Log, count: int) -> None:
        log.append({"s1": rows(log.size + 1, count)})
        self.kept = log.size
        self.signed.append(log.publish())

    def goes_on(self) -> None:
        """Opened again it has what was acknowledged, goes on from all that was signed, and takes more."""
        with Log(self.folder, SIGNER) as log:
            assert log.size >= self.kept
            assert log.seen("s1").position == log.size
            log.append({"s1": rows(log.size + 1, 300)})
            log.publish()
        for earlier in self.signed:
            assert reader(self.folder).verify(earlier, self.folder).without == 0
        assert [position for _, position, _ in sources_in(self.folder)] == list(range(1, log.size + 1))


# --- full -------------------------------------------------------------------------------------------------------------------------


def run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True, timeout=30)


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of some megabytes."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    place = tmp_path / "disk"
    place.mkdir()
    try:
        if request.param == "tmpfs":
            run("mount", "-t", "tmpfs", "-o", "size=4m", "none", place)
        else:
            (tmp_path / "image").write_bytes(bytes(16 << 20))
            run("mkfs.ext4", "-q", "-F", "-m", "0", tmp_path / "image")
            run("mount", "-o", "loop", tmp_path / "image", place)
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"{request.param} cannot be mounted here: {exc}")
    yield place
    run("umount", place)


def _write_for_ever(out: FileIO, content: bytes) -> None:
    while True:
        out.write(content)
        os.fsync(out)


def fill(disk: Path, spare: int = 0) -> None:
    """Leaves so many bytes, as nearly as the file system's blocks allow."""
    with (disk / "ballast").open("ab", buffering=0) as ballast:
        for size in (1 << 16, 1 << 12):
            with pytest.raises(OSError, match="No space left"):
                _write_for_ever(ballast, bytes(size))
        ballast.truncate(max(0, ballast.tell() - spare))


@pytest.mark.parametrize("spare", [90_000, 200_000, 333_000])
def test_a_disk_that_is_full_loses_nothing_and_is_written_again_once_there_is_room(disk: Path, spare: int) -> None:
    written(disk / "log", 100)
    fill(disk, spare)
    log = Written(disk / "log")
    assert log.until_it_fails().errno == errno.ENOSPC
    fill(disk)
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            Log(log.folder, SIGNER).__enter__()
        if log.signed:
            assert reader(log.folder).verify(log.signed[-1], log.folder).without == 0
    (disk / "ballast").unlink()
    log.goes_on()


@pytest.mark.anyio
async def test_the_worker_takes_in_every_row_once_though_its_disk_was_full(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = list[None]()

    def soon(_: object) -> float:
        failures.append(None)
        return 0.01

    monkeypatch.setattr(Backoff, "next_s", soon)
    outbox = Outbox(rows(1, 2_500))
    fill(disk, 300_000)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(drain(disk / "log", SIGNER, lambda: {"s1": outbox}))
        await eventually(lambda: len(failures) > 2)
        (disk / "ballast").unlink()
        await eventually(lambda: reader(disk / "log").checkpoint.size == 2_500)
        task.cancel()
    assert [position for _, position, _ in sources_in(disk / "log")] == list(range(1, 2_501))
    assert reader(disk / "log").verify(folder=disk / "log").payloads == 2_500


def wal_itself(log: Log) -> Path:
    """The descriptor that the writer holds leads to `/dev/full` from now on."""
    full = os.open("/dev/full", os.O_WRONLY)
    assert log._wal is not None
    os.dup2(full, log._wal._descriptor)
    os.close(full)
    return Path("nowhere")


def leads_to_full(name: str) -> Callable[[Log], Path]:
    def planted(log: Log) -> Path:
        path = log._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to("/dev/full")
        return path

    return planted


FULL: dict[str, Callable[[Log], Path]] = {
    "the write-ahead file": wal_itself,
    "the next write-ahead file": lambda log: leads_to_full(segments.name_of(log._generation + 1))(log),
    "a whole tile": leads_to_full("tile/0/000.partial"),
    "a partial tile": leads_to_full("tile/0/001.p/4"),
    "a tile of the second level": leads_to_full("tile/1/000.p/1"),
    "a whole bundle": leads_to_full("tile/entries/000.partial"),
    "a bundle": leads_to_full("tile/entries/001.p/4"),
    "payloads": leads_to_full("payload/001"),
    "the checkpoint": leads_to_full("checkpoint.partial"),
}


@pytest.mark.parametrize("plant", FULL.values(), ids=FULL)
def test_whichever_file_finds_no_room_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Callable[[Log], Path]
) -> None:
    unsynced(monkeypatch)
    log = Written(tmp_path / "log")
    log.signed = [checkpoints.opened(note, SIGNER.verifier) for note in written(log.folder, 250)]
    with Log(log.folder, SIGNER) as opened, monkeypatch.context() as patch:
        log.kept = opened.size
        patch.setattr(log_module, "FILES_MAX", 1)
        planted = plant(opened)
        with pytest.raises(OSError, match="No space left"):
            log.one_round(opened, 10)
        with pytest.raises(LogBroken):
            opened.publish()
    planted.unlink(missing_ok=True)
    log.goes_on()


# --- read-only, without descriptors ---------------------------------------------------------------------------------------------------


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nobody may write there; for root, who may everything, the kernel is asked as somebody else."""
    user = os.geteuid()
    paths = [path for path in (folder, *folder.rglob("*")) if path.exists()]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        for path in paths:
            path.chmod(0o700 if path.is_dir() else 0o600)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is named from within, so that whoever asks needs no right to those above it."""
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    return Path("log")


def test_a_folder_that_is_read_only_is_told_and_left_as_it_is(here: Path) -> None:
    signed = [checkpoints.opened(note, SIGNER.verifier) for note in written(here, 100)]
    held = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    with read_only(here), pytest.raises(PermissionError, match="log/lock"):
        Log(here, SIGNER).__enter__()
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == held
    log = Written(here)
    log.kept, log.signed = 100, signed
    log.goes_on()


def test_a_folder_that_becomes_read_only_keeps_what_was_acknowledged(here: Path) -> None:
    log = Written(here)
    log.signed = [checkpoints.opened(note, SIGNER.verifier) for note in written(here, 100)]
    with Log(here, SIGNER) as opened:
        with read_only(here):
            opened.append({"s1": rows(101, 10)})
            log.kept = opened.size
            with pytest.raises(PermissionError, match="log/tile"):
                opened.publish()
        with pytest.raises(LogBroken):
            opened.publish()
    assert log.kept == 110
    log.goes_on()


@contextmanager
def no_descriptors() -> Iterator[None]:
    """The process gets no further one."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_process_without_descriptors_acknowledges_nothing_that_it_loses(tmp_path: Path) -> None:
    log = Written(tmp_path / "log")
    log.signed = [checkpoints.opened(note, SIGNER.verifier) for note in written(log.folder, 250)]
    with Log(log.folder, SIGNER) as opened:
        with no_descriptors():
            opened.append({"s1": rows(251, 3)})
            log.kept = opened.size
            with pytest.raises(OSError, match="Too many open files"):
                opened.publish()
        with pytest.raises(LogBroken):
            opened.append({"s1": rows(254, 3)})
    for _ in range(3):
        with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
            Log(log.folder, SIGNER).__enter__()
    assert log.kept == 253
    log.goes_on()


# --- gone -------------------------------------------------------------------------------------------------------------------------


def removed(folder: Path) -> None:
    shutil.rmtree(folder)


def moved(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def replaced(folder: Path) -> None:
    moved(folder)
    written(folder, 5)


def rolled_back(folder: Path) -> None:
    """As `replaced`, by a copy of its own."""
    moved(folder)
    copied(folder.with_name("elsewhere"), folder)


@pytest.mark.parametrize("fault", [removed, moved, replaced, rolled_back])
@pytest.mark.parametrize("call", [lambda log: log.append({"s1": rows(106, 5)}), Log.publish, lambda log: log.erase(3)])
def test_a_folder_that_is_gone_takes_nothing_and_is_not_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Path], None], call: Callable[[Log], object]
) -> None:
    unsynced(monkeypatch)
    folder = tmp_path / "log"
    written(folder, 100)
    with Log(folder, SIGNER) as log:
        log.append({"s1": rows(101, 5)})
        fault(folder)
        held = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        with pytest.raises(OSError, match=r"No such file|another file lies"):
            call(log)
        with pytest.raises(LogBroken):
            log.publish()
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == held


def test_whoever_remembers_what_was_signed_begins_no_other_log_in_its_place(tmp_path: Path) -> None:
    folder, kept = tmp_path / "log", tmp_path / "kept"
    written(folder, 20)
    older = copied(folder, tmp_path / "older")
    with Log(folder, SIGNER) as log:
        log.append({"s1": rows(21, 5)})
        told = log.publish()
    folder.rename(kept)
    with pytest.raises(FileNotFoundError):
        Log(folder, SIGNER, since=told).__enter__()
    assert not folder.exists()
    folder.mkdir()
    with pytest.raises(LogDamaged, match="25 entries were signed for, and 0 are here"):
        Log(folder, SIGNER, since=told).__enter__()
    with pytest.raises(LogDamaged, match="25 entries were signed for, and 20 are here"):
        Log(older, SIGNER, since=told).__enter__()
    written(tmp_path / "other", 30)
    with pytest.raises(LogDamaged, match="not those that were signed for"):
        Log(tmp_path / "other", SIGNER, since=told).__enter__()
    assert not (folder / "checkpoint").exists()
    with Log(kept, SIGNER, since=told) as log:
        assert log.checkpoint == told


@pytest.mark.anyio
async def test_the_worker_waits_for_its_folder_and_goes_on_in_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = list[None]()

    def soon(_: object) -> float:
        failures.append(None)
        return 0.01

    monkeypatch.setattr(Backoff, "next_s", soon)
    folder, outbox = tmp_path / "log", Outbox(rows(1, 10))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(drain(folder, SIGNER, lambda: {"s1": outbox}))
        await eventually(lambda: (folder / "checkpoint").exists() and reader(folder).checkpoint.size == 10)
        folder.rename(tmp_path / "elsewhere")
        outbox.held += rows(11, 10)
        await eventually(lambda: len(failures) > 2)
        assert not folder.exists()
        folder.mkdir()
        failures.clear()
        await eventually(lambda: len(failures) > 2)
        assert not (folder / "checkpoint").exists()
        shutil.rmtree(folder)
        (tmp_path / "elsewhere").rename(folder)
        await eventually(lambda: reader(folder).checkpoint.size == 20)
        task.cancel()
    assert [position for _, position, _ in sources_in(folder)] == list(range(1, 21))
