"""Payloads are long where they are sheaves': whoever erases, verifies or looks for somebody holds one of them at a time."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from foundation.ledger import payloads
from foundation.ledger.beside import payload, speaking_of
from foundation.ledger.entries import Recorded
from foundation.ledger.erasing import Job, digest_of, step
from foundation.ledger.handed import RECORDS_MAX
from foundation.ledger.log import Log
from foundation.ledger.port import Kind
from tests.stands.ledger import SIGNER, reader, rows, unsynced

ADA = "aaaaaaaa-0000-4000-8000-00000000000a"
BEA = "bbbbbbbb-0000-4000-8000-00000000000b"
FEW, MANY = 3, 18
DETAILS = msgspec.Raw(b'{"reason":"%s"}' % (b"x" * 400))


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)


def refused(position: int) -> Recorded:
    """One about Ada among many about Bea."""
    subject = ADA if position % RECORDS_MAX == 7 else BEA
    [row] = rows(position, 1)
    return msgspec.structs.replace(row, kind=Kind.REFUSAL.value, actor=subject, subject_id=subject, details=DETAILS)


def filled(folder: Path, sheaves: int) -> int:
    """A log of sheaves of a thousand records; the length of a payload."""
    with Log(folder, SIGNER) as log:
        for first in range(1, sheaves * RECORDS_MAX, RECORDS_MAX):
            log.append({"s1": [refused(position) for position in range(first, first + RECORDS_MAX)]})
        assert log.publish().size == sheaves
    opening = payloads.read(folder, 0)
    assert opening is not None
    return len(opening)


def erased(folder: Path, sheaves: int) -> None:
    with Log(folder, SIGNER) as log:
        job = Job(id="one", subject=digest_of(ADA), actor="operator:ann", through=sheaves)
        while not job.finished:
            job = step(log, folder, job)
    assert job.erased == sheaves


def verified(folder: Path, sheaves: int) -> None:
    assert reader(folder).verify(folder=folder).payloads == sheaves


def found(folder: Path, sheaves: int) -> None:
    assert sum(1 for _ in speaking_of(reader(folder), folder, ADA)) == sheaves


def read(folder: Path, sheaves: int) -> None:
    assert payloads.read(folder, sheaves - 1)


@pytest.mark.parametrize("work", [erased, verified, found, read])
def test_memory_is_that_of_one_payload_however_many_there_are(
    tmp_path: Path, work: Callable[[Path, int], None]
) -> None:
    peaks, length = list[int](), 0
    for sheaves in (FEW, MANY):
        folder = tmp_path / str(sheaves)
        length = filled(folder, sheaves)
        tracemalloc.start()
        try:
            work(folder, sheaves)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    few, many = peaks
    assert many < few + 2 * length, (few, many, length)


@pytest.mark.parametrize("size", [65_536, 3 << 20])
def test_a_payload_is_kept_whole_however_long_and_its_entry_stays_short(tmp_path: Path, size: int) -> None:
    details = msgspec.Raw(b'{"text":"%s"}' % (b"x" * size))
    with Log(tmp_path, SIGNER) as log:
        log.append({"s1": [msgspec.structs.replace(row, details=details) for row in rows(1, 3)]})
        log.publish()
    for found in reader(tmp_path).newest():
        told = payload(tmp_path, found)
        assert told is not None
        assert bytes(told.details) == bytes(details)
        assert len(found.raw) < 1_000
    assert reader(tmp_path).verify(folder=tmp_path).payloads == 3
