"""A checkpoint on its way to the disk: appends go on meanwhile, it is over what was durable when it began, and its fault stops the log.
Appends go on while payloads are erased, too."""

import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from foundation.ledger import ahead, payloads, wal
from foundation.ledger.checkpoints import CHECKPOINT, Checkpoint
from foundation.ledger.files import Files
from foundation.ledger.growing import Growing
from foundation.ledger.log import Log, LogBroken
from tests.stands.ledger import SIGNER, reader, rows, unsynced

WAIT_S_MAX = 20


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)


@contextmanager
def held_back(
    monkeypatch: pytest.MonkeyPatch, log: Log, fault: OSError | None = None
) -> Iterator[Callable[[], Future[Checkpoint]]]:
    """Inside it a checkpoint waits on its way to the disk; what is given has it go on, to its end or the fault."""
    begun, going = threading.Event(), threading.Event()
    write = Files.write_durably

    def slow(self: Files, name: str, content: bytes) -> None:
        if name == CHECKPOINT:
            begun.set()
            assert going.wait(WAIT_S_MAX)
            if fault is not None:
                raise fault
        write(self, name, content)

    with monkeypatch.context() as patch, ThreadPoolExecutor(1) as aside:
        patch.setattr(Files, "write_durably", slow)
        publishing = aside.submit(log.publish)
        assert begun.wait(WAIT_S_MAX)

        def goes_on() -> Future[Checkpoint]:
            going.set()
            return publishing

        try:
            yield goes_on
        finally:
            going.set()


def test_appends_go_on_while_a_checkpoint_is_on_its_way_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Log(tmp_path, SIGNER) as log:
        log.append({"s1": rows(1, 300)})
        with held_back(monkeypatch, log) as goes_on:
            # Beyond the end of the bundle: the whole tile takes the place of the partial ones that are being signed for.
            assert log.append({"s1": rows(301, 400)}) == range(300, 700)
            assert log.checkpoint.size == 0
            assert goes_on().result(WAIT_S_MAX).size == 300
        assert reader(tmp_path).verify(folder=tmp_path).size == 300
        assert log.publish().size == 700
    assert reader(tmp_path).verify(folder=tmp_path).payloads == 700


def test_a_fault_of_a_checkpoint_stops_appends_and_loses_none_that_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Log(tmp_path, SIGNER) as log:
        log.append({"s1": rows(1, 10)})
        with held_back(monkeypatch, log, OSError(errno.EIO, "spoiled")) as goes_on:
            assert log.append({"s1": rows(11, 10)}) == range(10, 20)
            with pytest.raises(OSError, match="spoiled"):
                goes_on().result(WAIT_S_MAX)
        for call in (lambda: log.append({"s1": rows(21, 1)}), log.publish, lambda: log.erase(1)):
            with pytest.raises(LogBroken):
                call()
    with Log(tmp_path, SIGNER) as again:
        assert again.size == again.checkpoint.size == 20


def test_an_append_writes_to_the_write_ahead_file_and_to_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Log(tmp_path, SIGNER) as log:
        before = {path for path in tmp_path.rglob("*") if path.is_file()}
        with monkeypatch.context() as patch:
            patch.setattr(Files, "_opened", lambda *_: pytest.fail("a file was opened"))
            for _ in range(4):
                log.append({"s1": rows(log.size + 1, 300)})
        assert {path for path in tmp_path.rglob("*") if path.is_file()} == before
        assert log.publish().size == 1_200
    assert reader(tmp_path).verify(folder=tmp_path).payloads == 1_200


def test_appends_go_on_while_what_came_before_is_taken_into_the_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, going = threading.Event(), threading.Event()
    take = Growing.take

    def slow(self: Growing, entries: Sequence[bytes], openings: Sequence[bytes]) -> None:
        begun.set()
        assert going.wait(WAIT_S_MAX)
        take(self, entries, openings)

    with Log(tmp_path, SIGNER) as log, ThreadPoolExecutor(2) as aside, monkeypatch.context() as patch:
        patch.setattr(Growing, "take", slow)
        log.append({"s1": rows(1, 100)})  # as many as an append would take in
        publishing = aside.submit(log.publish)
        try:
            assert begun.wait(WAIT_S_MAX)
            for first in (101, 104):
                appending = aside.submit(log.append, {"s1": rows(first, 3)})
                assert appending.result(WAIT_S_MAX / 2) == range(first - 1, first + 2)
        finally:
            going.set()
        assert publishing.result(WAIT_S_MAX).size == 100
        assert log.publish().size == 106
    assert reader(tmp_path).verify(folder=tmp_path).payloads == 106


def test_appends_go_on_while_the_next_write_ahead_file_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, going = threading.Event(), threading.Event()
    sync_path = wal.sync_path

    def slow(path: Path) -> None:
        begun.set()
        assert going.wait(WAIT_S_MAX)
        sync_path(path)

    with Log(tmp_path, SIGNER) as log, ThreadPoolExecutor(1) as aside, monkeypatch.context() as patch:
        patch.setattr(ahead, "FILES_MAX", 1)
        patch.setattr(wal, "sync_path", slow)
        log.append({"s1": rows(1, 300)})
        publishing = aside.submit(log.publish)
        try:
            assert begun.wait(WAIT_S_MAX)
            assert log.append({"s1": rows(301, 400)}) == range(300, 700)
        finally:
            going.set()
        assert publishing.result(WAIT_S_MAX).size == 700, "of what came meanwhile, too"
    assert reader(tmp_path).verify(folder=tmp_path).payloads == 700
    with Log(tmp_path, SIGNER) as again:
        assert again.size == 700


def test_appends_and_checkpoints_go_on_while_payloads_are_erased_and_closing_waits(tmp_path: Path) -> None:
    begun, going = threading.Event(), threading.Event()

    def speaks(_: bytes) -> bool:
        begun.set()
        return going.wait(WAIT_S_MAX)

    log = Log(tmp_path, SIGNER)
    log.open()
    log.append({"s1": rows(1, 300)})
    with ThreadPoolExecutor(2) as aside:
        erasing = aside.submit(log.erase, 7, 299, speaking=speaks)
        try:
            assert begun.wait(WAIT_S_MAX)
            assert log.append({"s1": rows(301, 400)}) == range(300, 700)
            assert log.publish().size == 700
            closing = aside.submit(log.close)
            assert not erasing.done()
            assert not closing.done()
        finally:
            going.set()
        assert erasing.result(WAIT_S_MAX) == 2
        closing.result(WAIT_S_MAX)
    found = reader(tmp_path).verify(folder=tmp_path)
    assert (found.size, found.without) == (700, 2)
    with Log(tmp_path, SIGNER) as again:
        assert again.size == 700
    assert [payloads.read(tmp_path, index) is None for index in (7, 8, 299, 300)] == [True, False, True, False]


def test_closing_waits_for_a_checkpoint_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(tmp_path, SIGNER)
    log.open()
    log.append({"s1": rows(1, 10)})
    with ThreadPoolExecutor(1) as aside, held_back(monkeypatch, log) as goes_on:
        closing = aside.submit(log.close)
        assert not closing.done()
        assert goes_on().result(WAIT_S_MAX).size == 10
        closing.result(WAIT_S_MAX)
    assert reader(tmp_path).checkpoint.size == 10
