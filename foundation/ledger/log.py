"""A log that is written: entries are durable before anybody is told, then stand in tiles, then under a signed checkpoint.

Rules that it keeps:
- `append` returns once its entries, their payloads and the positions of their sources are on the disk, in one record.
- A checkpoint is signed only over entries that are; and only when the tree that was signed last is the beginning of this one.
- An index belongs to one entry for ever. After a fault of the disk nothing is written until the log was closed and read again.
- One writer a folder.
"""

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from foundation.ledger import checkpoints, payloads, segments
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.entries import SALT_BYTES, Recorded, event_digest, sealed
from foundation.ledger.files import Files, FolderLock, LogDamaged, sync_path
from foundation.ledger.growing import Growing
from foundation.ledger.merkle import EMPTY_ROOT, root_of
from foundation.ledger.notes import NoteRefused, Signer
from foundation.ledger.segments import Batch, Header, Seen
from foundation.ledger.tiles import MalformedTile
from foundation.ledger.wal import WriteAhead

CHECKPOINT = "checkpoint"
SEGMENT_BYTES_MAX = 8 << 20
"""A write-ahead file longer than that gives way to a new one once tiles hold what it holds."""
FILES_MAX = 1_024
"""The same after so many files were written: partial tiles are removed with it."""
NOTHING = Seen(0, "")


class LogBroken(Exception):
    """A write failed before: close the log and open it again."""


class Log:
    """The writer of one folder, from `open` to `close` (or as a context). Calls may come from any thread and take turns; each waits for
    the disk."""

    def __init__(self, folder: Path, signer: Signer, *, chance: Callable[[int], bytes] = secrets.token_bytes) -> None:
        """Touches nothing yet. `chance` gives so many random bytes (salts)."""
        self.verifier = signer.verifier
        self._folder = folder
        self._signer = signer
        self._chance = chance
        self._mutex = threading.Lock()
        self._closed = False
        self._sound = False
        self._lock: FolderLock | None = None
        self._wal: WriteAhead | None = None

    def open(self) -> None:
        """Opens or begins the log, finishing what a crash has left. Once. Raises LogBusy, LogDamaged, OSError, LogBroken after `close`."""
        with self._mutex:
            if self._closed:
                raise LogBroken(f"{self._folder} was closed")
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_path(self._folder.parent)
            self._lock = FolderLock(self._folder)
            self._files = Files(self._folder)
            self._recover()
            self._sound = True

    def close(self) -> None:
        """Waits for a call under way, then lets go of the folder. Nothing is lost that `append` has returned."""
        with self._mutex:
            self._closed, self._sound = True, False
            if self._wal is not None:
                self._wal.close()
            if self._lock is not None:
                self._lock.release()
            self._wal = self._lock = None

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Entries that are durable."""
        return self._growing.size

    @property
    def checkpoint(self) -> Checkpoint:
        """What was signed last."""
        return self._checkpoint

    def seen(self, source: str) -> Seen:
        """How far a source has been taken in."""
        return self._seen.get(source, NOTHING)

    def append(self, rows: Mapping[str, Sequence[Recorded]]) -> range:
        """Takes in what is new of each source's rows, in the order of their positions; their indexes, once they are durable.

        Rows that were taken in before are passed over. Raises OSError, LogBroken; ValueError for rows out of order.
        """
        with self._mutex:
            batch = self._batch(rows)
            first = self.size
            if batch.entries:
                with self._sound_after() as wal:
                    wal.append(msgspec.msgpack.encode(batch))
                    self._take(batch)
            return range(first, self.size)

    def publish(self) -> Checkpoint:
        """Writes tiles and a checkpoint over all that is durable. Raises OSError, LogBroken."""
        with self._mutex:
            with self._sound_after() as wal:
                self._publish()
                if wal.size > SEGMENT_BYTES_MAX or self._files.written > FILES_MAX:
                    self._settle()
            return self._checkpoint

    def erase(self, *indexes: int) -> int:
        """Overwrites the payloads of entries wherever this log has them; how many there were. Raises OSError, LogBroken, LogDamaged."""
        with self._mutex:
            with self._sound_after():
                self._publish()
                self._settle()
            return payloads.erase(self._folder, indexes)

    def resume(self, source: str, seen: Seen) -> None:
        """Goes on after another position than the last one: for a source that was restored from an older state."""
        with self._mutex:
            self._seen[source] = seen

    @contextmanager
    def _sound_after(self) -> Iterator[WriteAhead]:
        """Whatever goes wrong inside leaves the log unsound: nobody knows what is on the disk until it is read again."""
        if not self._sound or self._wal is None:
            raise LogBroken(f"{self._folder} has to be opened again")
        self._sound = False
        yield self._wal
        self._sound = True

    # --- one record ------------------------------------------------------------------------------------------------------

    def _batch(self, rows: Mapping[str, Sequence[Recorded]]) -> Batch:
        batch = Batch(self.size, [], [], {})
        for source, given in rows.items():
            last = before = self.seen(source)
            for row in given:
                if row.position <= before.position:
                    continue
                if row.position <= last.position:
                    raise ValueError(f"{source}: position {row.position} comes after {last.position}")
                entry, opening = sealed(row, source, self._chance(SALT_BYTES))
                batch.entries.append(entry)
                batch.openings.append(opening)
                last = Seen(row.position, event_digest(row.id))
            if last != before:
                batch.sources[source] = last
        return batch

    def _take(self, batch: Batch) -> None:
        for entry, opening in zip(batch.entries, batch.openings, strict=True):
            self._growing.take(entry, opening)
        self._seen |= batch.sources

    # --- tiles and checkpoint --------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        if self._checkpoint.size == self.size:
            return
        self._growing.write_edge()
        self._sign()

    def _sign(self) -> None:
        checkpoint = Checkpoint(self._signer.verifier.name, self.size, self._growing.root())
        self._files.write_durably(CHECKPOINT, checkpoints.signed(checkpoint, self._signer))
        self._checkpoint = checkpoint

    def _settle(self) -> None:
        """Makes the tiles durable and begins a new write-ahead file; those before are not needed any more."""
        self._files.sync()
        self._generation += 1
        older = segments.segments_in(self._folder)
        header = Header(self.size, self._growing.root(), self._growing.payload_bytes, self._seen)
        begun = WriteAhead(self._folder / segments.name_of(self._generation), msgspec.msgpack.encode(header))
        if self._wal is not None:
            self._wal.close()
        self._wal = begun
        for path in older:
            if path != begun.path:
                path.unlink()
        self._growing.drop_partials()

    # --- opening ---------------------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        found = segments.newest(self._folder)
        header = found.header if found else Header(0, EMPTY_ROOT, 0, {})
        self._generation = found.generation if found else 0
        self._seen = dict(header.sources)
        self._growing = Growing(self._folder, self._files, header.first, header.payload_bytes)
        if self._growing.root() != header.root:
            raise LogDamaged(f"the tiles of the first {header.first} entries are not those that were written")
        for batch in found.batches if found else ():
            if batch.first != self.size or len(batch.entries) != len(batch.openings):
                raise LogDamaged(f"the write-ahead file goes on at {batch.first}, the log ends at {self.size}")
            self._take(batch)
        self._growing.write_edge()
        signed = self._signed()
        # What a killed process wrote may be in memory alone: it is signed for once it is on the disk.
        self._settle()
        if signed is None or signed.size < self.size:
            self._sign()
        else:
            self._checkpoint = signed

    def _signed(self) -> Checkpoint | None:
        """What was signed last, if it is there. Raises LogDamaged unless this log goes on from it."""
        try:
            signed = checkpoints.opened((self._folder / CHECKPOINT).read_bytes(), self._signer.verifier)
            if signed.size > self.size:
                raise LogDamaged(f"{signed.size} entries were signed for, and {self.size} are here")
            if root_of(signed.size, self._growing.hashes()) != signed.root:
                raise LogDamaged(f"the first {signed.size} entries are not those that were signed for")
        except FileNotFoundError:
            return None
        except NoteRefused as exc:
            raise LogDamaged(f"checkpoint: {exc}") from exc
        except MalformedTile as exc:
            raise LogDamaged(str(exc)) from exc
        return signed
