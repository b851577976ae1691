"""A log on disks that are full indeed: a clear error, nothing lost, and it goes on once there is room.

What is real: a tmpfs and an ext4 of their own, filled to the last block (as root, where mounting is allowed); for everybody `/dev/full` in
the place of each file that is written, which is the kernel's own ENOSPC. tests/unit/test_ledger_log.py has a limit on the size of files.
"""

import asyncio
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

import pytest

from foundation.ledger import ahead, checkpoints, segments
from foundation.ledger.draining import drain
from foundation.ledger.log import Log, LogBroken
from foundation.tasks import Backoff
from tests.stands.ledger import SIGNER, Outbox, reader, rows, sources_in, unsynced, written
from tests.stands.ledger_faults import Written
from tests.stands.waiting import eventually


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
    assert log._ahead.current is not None
    os.dup2(full, log._ahead.current._descriptor)
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
    "the next write-ahead file": lambda log: leads_to_full(segments.name_of(log._ahead.generation + 1))(log),
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
        patch.setattr(ahead, "FILES_MAX", 1)
        planted = plant(opened)
        with pytest.raises(OSError, match="No space left"):
            log.one_round(opened, 10)
        with pytest.raises(LogBroken):
            opened.publish()
    planted.unlink(missing_ok=True)
    log.goes_on()
