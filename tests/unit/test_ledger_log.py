"""A log on a disk: durable before it tells, read again after whatever a crash left, never in two hands, never against what it signed."""

import errno
import os
import resource
import secrets
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from foundation.ledger import checkpoints, files, payloads, segments, wal
from foundation.ledger.beside import payload
from foundation.ledger.entries import MalformedEntry
from foundation.ledger.files import LogBusy, LogDamaged
from foundation.ledger.log import Log, LogBroken
from foundation.ledger.merkle import ProofRefused, consistency, verify_consistency
from foundation.ledger.notes import Signer
from foundation.ledger.reading import Absent
from foundation.ledger.segments import Seen
from foundation.ledger.serving import tile_in
from foundation.ledger.tiles import ENTRIES, Tile
from foundation.mute import Secret
from tests.stands.ledger import SIGNER, checkpoint_of, copied, naive_root, reader, rows, sources_in, unsynced, written


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 300, 600])
def test_the_signed_root_is_that_of_the_entries_whatever_the_batches(folder: Path, size: int) -> None:
    written(folder, *[7] * (size // 7), size % 7)
    found = list(reader(folder).newest())[::-1]
    assert [one.index for one in found] == list(range(size))
    assert checkpoint_of(folder).root == naive_root([one.raw for one in found])
    assert reader(folder).verify(folder=folder).payloads == size


def test_each_checkpoint_goes_on_from_every_one_before(folder: Path) -> None:
    signed = [checkpoints.opened(note, SIGNER.verifier) for note in written(folder, 1, 200, 100, 3)]
    assert [one.size for one in signed] == [0, 1, 201, 301, 304]
    for earlier in signed:
        assert reader(folder).verify(earlier).earlier == earlier.size


def test_what_append_returned_is_there_when_nothing_was_published(folder: Path) -> None:
    with Log(folder, SIGNER) as log:
        assert log.append({"s1": rows(1, 3), "s2": rows(10, 2, tag="other")}) == range(5)
        assert log.checkpoint.size == 0
    with Log(folder, SIGNER) as again:
        assert again.size == again.checkpoint.size == 5
        assert again.seen("s1").position == 3
        assert again.seen("s2").position == 11
        assert again.seen("s3") == Seen(0, "")
    assert reader(folder).verify(folder=folder).payloads == 5


def test_a_row_is_taken_in_once_and_in_order(folder: Path) -> None:
    with Log(folder, SIGNER) as log:
        assert log.append({"s1": rows(1, 3)}) == range(3)
        assert log.append({"s1": rows(2, 3)}) == range(3, 4)
        assert log.append({"s1": rows(1, 4)}) == range(4, 4)
        with pytest.raises(ValueError, match="comes after"):
            log.append({"s1": [*rows(6, 1), *rows(5, 1)]})
        assert log.append({"s1": rows(5, 1)}) == range(4, 5)


@pytest.mark.parametrize("batches", [(1,), (255, 1), (256,), (250, 10), (600, 1)])
def test_a_record_that_a_crash_cut_anywhere_is_as_if_it_had_not_begun(
    folder: Path, tmp_path: Path, batches: tuple[int, ...]
) -> None:
    with Log(folder, SIGNER) as log:
        for number, size in enumerate(batches):
            log.append({"s1": rows(1 + sum(batches[:number]), size)})
        assert log._ahead.current is not None
        before = log._ahead.current.size
        log.append({"s1": rows(1 + sum(batches), 4)})
    whole = segments.segments_in(folder)[0].read_bytes()
    end = len(whole.rstrip(b"\x00"))
    for number, cut in enumerate(
        {before, before + 1, before + 4, before + 11, before + 12, (before + end) // 2, end - 1}
    ):
        left = copied(folder, tmp_path / f"cut-{number}")
        segments.segments_in(left)[0].write_bytes(whole[:cut])
        with Log(left, SIGNER) as log:
            assert log.size == sum(batches)
            log.append({"s1": rows(1 + sum(batches), 4)})
            log.publish()
        assert reader(left).verify(folder=left).payloads == sum(batches) + 4


def test_a_power_cut_that_takes_every_tile_since_the_last_settling_takes_nothing_from_the_log(
    folder: Path, tmp_path: Path
) -> None:
    written(folder, 300)
    before = copied(folder, tmp_path / "before")
    with Log(folder, SIGNER) as log:
        # As opening left it, the disk has this: everything up to here, and the new write-ahead file.
        settled = copied(folder, tmp_path / "settled")
        for number in range(5):
            log.append({"s1": rows(301 + 100 * number, 100)})
            log.publish()
        told = log.checkpoint
    for path in segments.segments_in(folder):
        shutil.copy(path, settled)
    with Log(settled, SIGNER) as log:
        assert log.checkpoint == told
    assert reader(settled).verify(told, settled).payloads == 800
    with Log(before, SIGNER) as log:
        assert log.size == 300


def test_a_write_ahead_file_whose_header_was_cut_leaves_the_one_before_in_force(folder: Path) -> None:
    written(folder, 10)
    (kept,) = segments.segments_in(folder)
    whole = kept.read_bytes()
    (folder / segments.name_of(99)).write_bytes(whole[:20])
    with Log(folder, SIGNER) as log:
        assert log.size == 10
    assert [path.name for path in segments.segments_in(folder)] == [segments.name_of(101)], "beside no other"


def test_a_begun_log_that_was_cut_before_its_first_header_is_begun_again(folder: Path) -> None:
    folder.mkdir()
    (folder / segments.name_of(1)).write_bytes(b"\x89DL")
    with Log(folder, SIGNER) as log:
        assert log.size == 0


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def drop_entry(folder: Path) -> None:
    """The checkpoint stays, the last record goes: what a rolled-back write-ahead file looks like."""
    path = segments.segments_in(folder)[0]
    bodies, _ = wal.parse(path.read_bytes(), path.name)
    path.write_bytes(b"".join(wal.framed(body) for body in bodies[:-1]))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a record in the middle is broken": lambda folder: flip(segments.segments_in(folder)[0], wal.PAGE_BYTES + 400),
    "an acknowledged record is gone": drop_entry,
    "the write-ahead file is gone": lambda folder: segments.segments_in(folder)[0].unlink(),
    "a settled tile is gone": lambda folder: (folder / "tile/0/000.p/100").unlink(),
    "a settled tile is another": lambda folder: flip(folder / "tile/0/000.p/100", 5),
    "a settled bundle is another": lambda folder: flip(folder / "tile/entries/000.p/100", 50),
    "a settled bundle is gone": lambda folder: (folder / "tile/entries/000.p/100").unlink(),
    "a settled bundle is shorter": lambda folder: os.truncate(folder / "tile/entries/000.p/100", 500),
    "settled payloads are gone": lambda folder: (folder / "payload/000").unlink(),
    "settled payloads are shorter": lambda folder: os.truncate(folder / "payload/000", 50),
    "the checkpoint is no note": lambda folder: (folder / "checkpoint").write_text("nothing"),
    "the checkpoint is another key's": lambda folder: (folder / "checkpoint").write_bytes(
        Signer(SIGNER.verifier.name, Secret(b"x" * 32)).sign(f"{SIGNER.verifier.name}\n0\n{'A' * 43}=\n").encode()
    ),
    "the checkpoint was signed over other entries": lambda folder: (folder / "checkpoint").write_bytes(
        SIGNER.sign(f"{SIGNER.verifier.name}\n120\n{'A' * 43}=\n").encode()
    ),
    "a stranger's file stands among them": lambda folder: (folder / "wal-x").write_bytes(wal.framed(b"\x90")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_log_that_contradicts_itself_is_not_opened_and_nothing_is_signed(
    folder: Path, damage: Callable[[Path], object]
) -> None:
    written(folder, 100)
    with Log(folder, SIGNER) as log:
        for position in (101, 111):
            log.append({"s1": rows(position, 10)})
            log.publish()
    damage(folder)
    before = [path.read_bytes() for path in (folder / "checkpoint", *sorted(folder.glob("payload/*")))]
    with pytest.raises(LogDamaged):
        Log(folder, SIGNER).__enter__()
    assert [path.read_bytes() for path in (folder / "checkpoint", *sorted(folder.glob("payload/*")))] == before


def test_a_checkpoint_that_cannot_be_held_against_its_tiles_is_not_gone_on_from(folder: Path) -> None:
    notes = written(folder, 300, 300)
    with Log(folder, SIGNER):
        pass
    (folder / "checkpoint").write_bytes(notes[1])
    (folder / "tile/0/001").unlink()
    with pytest.raises(LogDamaged, match="tile/0/001 is missing"):
        Log(folder, SIGNER).__enter__()
    assert (folder / "checkpoint").read_bytes() == notes[1]


def test_what_may_be_in_memory_alone_is_written_again_when_a_log_is_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a sync that failed a system may hold it to be on the disk, and show it."""
    with Log(folder, SIGNER) as log:
        log.append({"s1": rows(1, 10)})
        log.publish()
    held = [(folder / name).read_bytes() for name in ("payload/000", "tile/0/000.p/10", "tile/entries/000.p/10")]
    again, pwrite = list[bytes](), os.pwrite

    def recorded(to: int, raw: memoryview, at: int) -> int:
        again.append(bytes(raw))
        return pwrite(to, raw, at)

    monkeypatch.setattr(os, "pwrite", recorded)
    with Log(folder, SIGNER) as log:
        assert log.size == 10
    assert all(content in again for content in held)


def test_one_writer_a_folder(folder: Path) -> None:
    with Log(folder, SIGNER) as log:
        with pytest.raises(LogBusy):
            Log(folder, SIGNER).__enter__()
        log.append({"s1": rows(1, 1)})
    with Log(folder, SIGNER) as log:
        assert log.size == 1
    for call in (log.publish, log.open, lambda: log.append({"s1": rows(2, 1)})):
        with pytest.raises(LogBroken):
            call()


def test_after_a_fault_of_the_disk_nothing_is_written_until_the_log_was_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Log(folder, SIGNER) as log:
        log.append({"s1": rows(1, 3)})

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "no space")

        with monkeypatch.context() as patched:
            patched.setattr(wal, "datasync", full)
            with pytest.raises(OSError, match="no space"):
                log.append({"s1": rows(4, 3)})
        for call in (log.publish, lambda: log.append({"s1": rows(4, 3)})):
            with pytest.raises(LogBroken):
                call()
    with Log(folder, SIGNER) as log:
        # The record is there or is not; its source is taken in as far as it is.
        position = log.seen("s1").position
        assert log.size == position
        log.append({"s1": rows(1, 6)})
        log.publish()
    entries = list(reader(folder).newest())
    assert sorted(one.entry.position for one in entries) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("bytes_max", [9_000, 20_000, 40_000])
def test_a_disk_that_takes_no_more_loses_nothing_that_was_acknowledged(folder: Path, bytes_max: int) -> None:
    """A limit on the size of files stands in for it: the kernel takes a part of a write, then none."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Log(folder, SIGNER) as log:

        def fill() -> None:
            while True:
                log.append({"s1": rows(log.size + 1, 7)})
                log.publish()

        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                fill()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        with pytest.raises(LogBroken):
            log.publish()
        kept, told = log.size, log.checkpoint
    assert kept >= told.size >= 7
    with Log(folder, SIGNER) as log:
        assert log.size >= kept
        log.append({"s1": rows(log.size + 1, 300)})
        log.publish()
    assert reader(folder).verify(told, folder).without == 0


def test_a_payload_that_was_erased_is_nowhere_and_every_proof_still_holds(folder: Path) -> None:
    written(folder, 300)
    with Log(folder, SIGNER) as log:
        log.append({"s1": rows(301, 20)})
        log.publish()
        proof = reader(folder).prove(next(one for one in reader(folder).newest() if one.index == 310))
        secret = payloads.read(folder, 310)
        assert secret is not None
        assert log.erase(310)
        assert log.erase(5)
        assert not log.erase(5_000)
        assert payloads.read(folder, 310) is payloads.read(folder, 5) is None
        assert payloads.read(folder, 309) is not None
    assert not any(secret[32:] in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    proof.verify(SIGNER.verifier)
    found = reader(folder).verify(folder=folder)
    assert (found.payloads, found.without) == (318, 2)
    with Log(folder, SIGNER) as log:
        log.append({"s1": rows(321, 1)})
        log.publish()
    assert payloads.read(folder, 310) is None
    assert reader(folder).verify(folder=folder).without == 2


def test_a_payload_reads_as_the_event_and_one_that_was_changed_is_refused(folder: Path) -> None:
    written(folder, 2)
    newest = next(reader(folder).newest())
    told = payload(folder, newest)
    assert told is not None
    assert (told.id, bytes(told.details)) == ("event:2", b'{"n":2}')
    flip(folder / "payload/000", (folder / "payload/000").stat().st_size - 3)
    with pytest.raises(MalformedEntry):
        payload(folder, newest)
    with pytest.raises(MalformedEntry):
        reader(folder).verify(folder=folder)


def test_an_event_is_found_and_proved_to_whoever_knows_the_key(folder: Path) -> None:
    written(folder, 255, 300, 40)
    log = reader(folder)
    for position in (1, 256, 257, 595):
        found = log.find(f"event:{position}")
        assert found is not None
        assert log.prove(found).verify(SIGNER.verifier).size == 595
    assert log.find("event:596") is None


def test_a_log_that_does_not_go_on_from_an_earlier_checkpoint_is_refused(folder: Path, tmp_path: Path) -> None:
    written(folder, 20, 5)
    written(tmp_path / "other", 20, 5)
    later = checkpoint_of(tmp_path / "other")
    with pytest.raises(ProofRefused):
        reader(folder).verify(later)
    written(tmp_path / "longer", 30)
    with pytest.raises(ProofRefused, match="were signed for before"):
        reader(folder).verify(checkpoint_of(tmp_path / "longer"))


def test_partial_tiles_are_removed_once_the_whole_one_is_durable_and_none_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foundation.ledger.ahead.FILES_MAX", 20)
    with Log(folder, SIGNER) as log:
        for position in range(1, 331):
            log.append({"s1": rows(position, 1)})
            log.publish()
    assert not (folder / "tile/0/000.p").exists()
    assert not (folder / "tile/entries/000.p").exists()
    assert (folder / "tile/0/001.p/74").exists()
    assert reader(folder).verify(folder=folder).payloads == 330
    old = reader(folder).verify(checkpoint_of(folder))
    assert old.size == 330


def test_a_reader_takes_a_partial_tile_out_of_the_whole_one(folder: Path, tmp_path: Path) -> None:
    written(folder, 200)
    then = copied(folder, tmp_path / "then")
    with Log(folder, SIGNER) as log:
        log.append({"s1": rows(201, 100)})
        log.publish()
    shutil.rmtree(folder / "tile/0/000.p")
    shutil.rmtree(folder / "tile/entries/000.p")
    shutil.copy(then / "checkpoint", folder / "checkpoint")
    assert reader(folder).verify(folder=folder).size == 200
    shutil.rmtree(folder / "tile/0")
    with pytest.raises(Absent):
        reader(folder).verify()


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: os.truncate(path, 33), lambda path: os.truncate(path, 0)])
@pytest.mark.parametrize("sizes", [(10, 20, 200), (10, 20, 300)])
def test_a_partial_tile_that_a_power_cut_took_is_given_out_of_a_wider_one(
    folder: Path, sizes: tuple[int, ...], spoil: Callable[[Path], None]
) -> None:
    written(folder, *sizes)
    tiles = [Tile(level, 0, width) for level in (0, ENTRIES) for width in (10, 30)]
    held = {tile: (folder / tile.path).read_bytes() for tile in tiles}
    for tile in tiles:
        spoil(folder / tile.path)
        assert {one: tile_in(folder, one) for one in tiles} == held
    for absent in (Tile(0, 1, 200), Tile(0, 2), Tile(1, 0, 2)):
        with pytest.raises(Absent):
            tile_in(folder, absent)


def test_nothing_of_a_log_is_open_to_others(folder: Path) -> None:
    written(folder, 300)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in segments.segments_in(folder)} == {0}


def test_chance_and_key_alone_make_two_logs_of_the_same_events_differ(folder: Path, tmp_path: Path) -> None:
    for place in (folder, tmp_path / "same"):
        with Log(place, SIGNER, chance=bytes) as log:
            log.append({"s1": rows(1, 10)})
            log.publish()
    assert (folder / "checkpoint").read_bytes() == (tmp_path / "same/checkpoint").read_bytes()
    written(tmp_path / "other", 10)
    assert checkpoint_of(tmp_path / "other").root != checkpoint_of(folder).root


def test_a_source_that_was_restored_is_gone_on_with_from_where_it_says(folder: Path) -> None:
    with Log(folder, SIGNER) as log:
        log.append({"s1": rows(1, 5)})
        seen = log.seen("s1")
        log.append({"s1": rows(6, 5)})
        log.resume("s1", seen)
        assert log.append({"s1": rows(6, 3, tag="anew")}) == range(10, 13)
    with Log(folder, SIGNER) as log:
        assert log.seen("s1").position == 8


def test_only_a_record_that_is_last_may_be_broken() -> None:
    whole = [wal.framed(body) for body in (b"one", b"two", b"three")]
    assert wal.parse(b"".join(whole), "wal").bodies == [b"one", b"two", b"three"]
    assert {len(record) for record in whole} == {wal.PAGE_BYTES}
    assert wal.parse(whole[0] + whole[1][:14], "wal") == ([b"one"], wal.PAGE_BYTES)
    assert wal.parse(whole[0] + whole[1][:15], "wal").bodies == [b"one", b"two"]
    assert wal.parse(whole[0] + bytes(40), "wal").bodies == [b"one"]
    with pytest.raises(LogDamaged, match="byte 4096"):
        wal.parse(whole[0] + bytes(wal.PAGE_BYTES) + whole[2], "wal")
    close = [record.rstrip(b"\x00") for record in whole]
    assert wal.parse(b"".join(close), "wal").bodies == [b"one", b"two", b"three"]
    with pytest.raises(LogDamaged, match="broken"):
        wal.parse(close[0] + bytes(20) + close[2], "wal")
    with pytest.raises(ValueError, match="at most"):
        wal.framed(bytes(wal.BODY_BYTES_MAX + 1))


def test_records_stand_one_after_the_other_also_where_one_took_more_memory_than_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "ROOM_BYTES_MAX", 3 * wal.PAGE_BYTES)
    with Log(folder, SIGNER) as log:
        for count in (40, 3, 1, 60, 2):
            log.append({"s1": rows(log.size + 1, count)})
        raw = segments.segments_in(folder)[0].read_bytes()
        bodies = wal.parse(raw, "wal").bodies
    assert len(bodies) == 6
    assert raw == b"".join(wal.framed(body) for body in bodies)


def test_what_was_written_is_whole_or_as_before_for_whoever_reads(folder: Path) -> None:
    folder.mkdir()
    held = files.Files(folder)
    held.write("a/b", b"one")
    held.write("a/b", b"two")
    held.put("a/c", 0, b"1")
    held.put("a/c", 1, b"2345")
    assert held.written == 2
    assert held.unsynced() == ["a/b", "a/c"]
    assert (held.written, held.unsynced()) == (0, [])
    held.put("a/c", 1, b"2")
    assert ((folder / "a/b").read_bytes(), (folder / "a/c").read_bytes()) == (b"two", b"12345")
    held.put("a/c", 2, b"6")
    held.cut("a/c", 4)
    assert (folder / "a/c").read_bytes() == b"1264"
    assert (held.size("a/c"), held.size("a/d")) == (4, 0)
    for content in (b"one", b"one", b"o", b"other"):
        held.write_unseen("a/d", content)
        assert (folder / "a/d").read_bytes() == content
    assert [path.name for path in (folder / "a").iterdir() if "partial" in path.name] == []


def test_consistency_is_what_the_formats_say_it_is(folder: Path) -> None:
    old, new = (checkpoints.opened(note, SIGNER.verifier) for note in written(folder, 100, 250)[1:])
    log = reader(folder)
    path = consistency(old.size, new.size, log.hashes)
    verify_consistency(old=old.size, old_root=old.root, new=new.size, new_root=new.root, path=path)


def test_what_was_sealed_before_is_the_same_log_and_is_taken_in_once(folder: Path) -> None:
    sealed = segments.sealed_of("s1", rows(1, 3), secrets.token_bytes)
    with Log(folder, SIGNER) as log:
        assert log.append_sealed(sealed) == range(3)
        with pytest.raises(ValueError, match="taken in before"):
            log.append_sealed(sealed)
        assert log.append({"s1": rows(1, 200)}) == range(3, 200)
        assert log.append_sealed(segments.sealed_of("s1", rows(201, 2), secrets.token_bytes)) == range(200, 202)
        log.publish()
    assert [position for _, position, _ in sources_in(folder)] == [*range(1, 203)]
    assert reader(folder).verify(folder=folder).without == 0
