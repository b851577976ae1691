"""Payloads read in the folder of a log that another process writes and erases from meanwhile."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from foundation.ledger import payloads, sheaves
from foundation.ledger.beside import payload, speaking_of, with_payloads
from foundation.ledger.entries import SALT_BYTES, MalformedEntry, Recorded
from foundation.ledger.log import Log
from foundation.ledger.port import Kind
from foundation.ledger.reading import Found
from foundation.ledger.records import records_of
from tests.stands.ledger import SIGNER, reader, rows, unsynced

ADA = "aaaaaaaa-0000-4000-8000-00000000000a"
SIZE = 300
ABOUT = (3, 255, 256, 299)
"""Entries that speak of Ada; the last of all is a sheaf that does."""


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)


def about(position: int, *, subject: str | None = None, kind: str = "placement") -> Recorded:
    (row,) = rows(position, 1)
    return msgspec.structs.replace(row, subject_id=subject, kind=kind)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    log = tmp_path / "log"
    single = [about(at + 1, subject=ADA if at in ABOUT else None) for at in range(SIZE - 1)]
    many = [about(position, subject=ADA, kind=Kind.REFUSAL.value) for position in range(SIZE, SIZE + 20)]
    with Log(log, SIGNER) as writer:
        writer.append({"s1": [*single, *many]})
        assert writer.publish().size == SIZE
    return log


def told(folder: Path) -> list[int]:
    return [found.index for found in speaking_of(reader(folder), folder, ADA)]


def test_what_is_on_its_way_into_a_file_of_payloads_is_not_read(folder: Path) -> None:
    path = folder / payloads.file_of(SIZE)
    whole, frame = (
        path.read_bytes(),
        payloads.framed(bytes(range(1, 1 + SALT_BYTES)) + f'{{"subject_id":"{ADA}"}}'.encode()),
    )
    for part in (1, 3, 4, 5, *range(9, len(frame), 16), len(frame)):
        path.write_bytes(whole + frame[:part])
        assert told(folder) == sorted(ABOUT, reverse=True), part
        assert payload(folder, next(reader(folder).newest())) is not None
        assert reader(folder).verify(folder=folder).payloads == SIZE


def overwritten(folder: Path, index: int, share: float) -> None:
    """As who looks while it is erased may see it: zeros from a place in it on, though its beginning was read before they came."""
    path = folder / payloads.file_of(index)
    opening = payloads.read(folder, index)
    assert opening is not None
    at, kept = path.read_bytes().index(opening), int(len(opening) * share)
    path.write_bytes(path.read_bytes().replace(opening, opening[:kept].ljust(len(opening), b"\x00")))
    assert path.read_bytes()[at : at + kept] == opening[:kept]


def by_itself(folder: Path, found: Found) -> bool:
    return payload(folder, found) is not None


def with_others(folder: Path, found: Found) -> bool:
    return next(with_payloads(folder, [found]))[1] is not None


def verified(folder: Path, found: Found) -> bool:
    return reader(folder).verify(folder=folder).without == 0


def under_it(folder: Path, found: Found) -> bool:
    return bool(list(records_of(folder, found)))


READINGS = {"by itself": by_itself, "with others": with_others, "verified": verified, "a sheaf's records": under_it}


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_a_payload_that_is_erased_while_it_is_read_reads_as_erased_and_one_that_stays_spoiled_as_damage(
    folder: Path, monkeypatch: pytest.MonkeyPatch, reading: Callable[[Path, Found], bool]
) -> None:
    index = SIZE - 1 if reading is under_it else ABOUT[0]
    found = reader(folder).bundle(index // 256)[index % 256]
    assert reading(folder, found)
    overwritten(folder, index, 0.7)
    with pytest.raises(MalformedEntry):
        reading(folder, found)
    read, times = payloads.read, list[int]()

    def meanwhile(place: Path, at: int) -> bytes | None:
        """The first look of who reads one by one finds it half overwritten, the next one all of it."""
        times.append(at)
        if len(times) > (reading in (by_itself, under_it)):
            payloads.erase(folder, [index])
        return read(place, at)

    monkeypatch.setattr(payloads, "read", meanwhile)
    assert not reading(folder, found)
    assert times[0] == index


def test_a_record_of_a_sheaf_that_reads_as_erased_is_overwritten_again(folder: Path) -> None:
    """After a sync that failed the disk may have it."""
    opening = payloads.read(folder, SIZE - 1)
    assert opening is not None
    _, second, third, *_ = sheaves.records_in(opening)
    gone = opening[: second.begin] + bytes(second.end - second.begin) + opening[second.end :]
    assert third.opening is not None
    assert sheaves.spans(gone, lambda held: held == third.opening) == [
        (second.begin, second.end),
        (third.begin, third.end),
    ]
