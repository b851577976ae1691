"""A log whose folder is read-only or gone, in a process without descriptors: each a clear error, nothing lost, and it goes on.

Permissions are those that the kernel checks: a process of root, who may everything, takes another user for them.
"""

import asyncio
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from foundation.ledger import checkpoints
from foundation.ledger.draining import drain
from foundation.ledger.files import LogDamaged
from foundation.ledger.log import Log, LogBroken
from foundation.tasks import Backoff
from tests.stands.ledger import SIGNER, Outbox, copied, reader, rows, sources_in, unsynced, written
from tests.stands.ledger_faults import Written
from tests.stands.waiting import eventually

NOBODY = 65_534


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
