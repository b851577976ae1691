"""What tests of the ledger share: a second implementation of RFC 6962's tree in its own words, rows of an outbox, keys, folders."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import msgspec
import pytest

from foundation.ledger import ahead, files, wal
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.draining import SourceUnavailable
from foundation.ledger.entries import Recorded
from foundation.ledger.log import Log
from foundation.ledger.merkle import node_hash
from foundation.ledger.notes import Signer
from foundation.ledger.reading import LogReader, of_folder
from foundation.ledger.settings import LedgerSettings
from foundation.ledger.tiles import framed
from foundation.mute import Secret

SIGNER = Signer("ledger.test/log", Secret(b"t" * 32))


def unsynced(patch: pytest.MonkeyPatch) -> None:
    """What is written stays in memory as far as the system likes, and no zeros are written ahead: the disk's own pace is not what most
    tests look at."""

    def at_once(_: int) -> None:
        return None

    patch.setattr(os, "fsync", at_once)
    patch.setattr(ahead, "ZEROS_FROM_BYTES", 1 << 62)
    for module in (files, wal):
        patch.setattr(module, "datasync", at_once)


class Asked(Future[Any]):
    """Work that is done when it was asked so many times whether it is done, or waited for."""

    def __init__(self, work: Callable[[], Any], times: int) -> None:
        super().__init__()
        self._work = work
        self._times = times

    def done(self) -> bool:
        self._times -= 1
        if self._times < 0:
            self.run()
        return super().done()

    def result(self, timeout: float | None = None) -> Any:
        self.run()
        return super().result(timeout)

    def run(self) -> None:
        if super().done():
            return
        try:
            self.set_result(self._work())
        except BaseException as exc:  # noqa: BLE001 - whoever asks for the result is told
            self.set_exception(exc)


class Later(Executor):
    """What a log does aside, at a moment that a test says: at once for 0, else when it was looked for so many times."""

    def __init__(self, times: int) -> None:
        self._times = times
        self._given: list[Asked] = []

    def submit(self, work: Callable[..., Any], /, *given: Any, **more: Any) -> Asked:
        asked = Asked(lambda: work(*given, **more), self._times)
        if self._times == 0:
            asked.run()
        self._given.append(asked)
        return asked

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for asked in self._given:
            asked.run()


def bundle_of(entries: Iterable[bytes]) -> bytes:
    """As a bundle is in its file. Raises ValueError where an entry is too long."""
    return b"".join(map(framed, entries))


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH(D[n]) as RFC 6962 section 2.1 defines it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def subtrees_of(hashes: Sequence[bytes]) -> Callable[[int, int], bytes]:
    """Complete subtrees over leaf hashes, computed anew each time."""

    def subtree(height: int, index: int) -> bytes:
        if height == 0:
            return hashes[index]
        return node_hash(subtree(height - 1, 2 * index), subtree(height - 1, 2 * index + 1))

    return subtree


def rows(first: int, count: int, *, tag: str = "event") -> list[Recorded]:
    """An outbox's rows from position `first` on."""
    return [
        Recorded(
            position=position,
            id=f"{tag}:{position}",
            at_us=1_800_000_000_000_000 + position,
            kind="placement",
            actor="operator:test",
            subject_id=None,
            details=msgspec.Raw(b'{"n":%d}' % position),
        )
        for position in range(first, first + count)
    ]


class Outbox:
    """A source in memory."""

    def __init__(self, held: Sequence[Recorded] = ()) -> None:
        self.held = list(held)
        self.away = False
        self.asked = 0

    async def rows_from(self, position: int, limit: int) -> Sequence[Recorded]:
        self._there()
        return [row for row in self.held if row.position >= position][:limit]

    async def ids_at(self, positions: Sequence[int]) -> Mapping[int, str]:
        self._there()
        return {row.position: row.id for row in self.held if row.position in positions}

    def _there(self) -> None:
        self.asked += 1
        if self.away:
            raise SourceUnavailable("away")


def written(folder: Path, *sizes: int, signer: Signer = SIGNER) -> list[bytes]:
    """A closed log of batches of these sizes from one source; every checkpoint that was signed, the first of them over nothing."""
    signed, position = list[bytes](), 1
    with Log(folder, signer) as log:
        signed.append((folder / "checkpoint").read_bytes())
        for size in sizes:
            log.append({"s1": rows(position, size)})
            log.publish()
            signed.append((folder / "checkpoint").read_bytes())
            position += size
    return signed


def reader(folder: Path, signer: Signer = SIGNER) -> LogReader:
    return LogReader(of_folder(folder), signer.verifier)


def checkpoint_of(folder: Path, signer: Signer = SIGNER) -> Checkpoint:
    return reader(folder, signer).checkpoint


def kept_by(folder: Path, signer: Signer = SIGNER) -> LedgerSettings:
    """Settings of a log in `folder`/log, with its keys beside it: `log.key`, and the public one in `log.vkey`."""
    key = folder / "log.key"
    key.touch(mode=0o600)
    key.write_text(signer.text.reveal())
    (folder / "log.vkey").write_text(signer.verifier.text)
    return LedgerSettings(folder=str(folder / "log"), origin=signer.verifier.name, key_file=str(key))


def sources_in(folder: Path) -> list[tuple[str, int, str]]:
    """Source, position and digest of the event of every entry that is signed for, in the log's order."""
    found = reversed(list(reader(folder).newest()))
    return [(one.entry.source, one.entry.position, one.entry.event) for one in found]


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to
