"""A log that is written: entries are durable before anybody is told, then stand in tiles, then under a signed checkpoint.

Rules that it keeps:
- `append` returns once its entries, their payloads and the positions of their sources are on the disk, in one record.
- A checkpoint is signed only over entries that are; and only when the tree that was signed last is the beginning of this one.
- An index belongs to one entry for ever. After a fault of the disk nothing is written until the log was closed and read again.
- One writer a folder, and that folder: one that was removed or replaced meanwhile takes no more.
"""

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from foundation.ledger import checkpoints, payloads, segments
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.entries import Recorded
from foundation.ledger.files import Files, FolderLock, LogDamaged, sync_path
from foundation.ledger.growing import Growing
from foundation.ledger.merkle import EMPTY_ROOT
from foundation.ledger.notes import Signer
from foundation.ledger.promised import check_goes_on, kept_checkpoint
from foundation.ledger.segments import Batch, Header, Seen, Segment, batch_of
from foundation.ledger.settling import Settling, one_thread
from foundation.ledger.wal import WriteAhead

CHECKPOINT = "checkpoint"
SEGMENT_BYTES_MAX = 8 << 20
"""A write-ahead file longer than that gives way to a new one, and is removed once tiles hold durably what it holds."""
FILES_MAX = 1_024
"""The same after so many files were written: partial tiles are removed with it."""
BEHIND_MAX = 4
"""So many times these bounds may be reached while the tiles before are still being made durable; then it is waited for."""
NOTHING = Seen(0, "")


class LogBroken(Exception):
    """A write failed before: close the log and open it again."""


class Log:
    """The writer of one folder, from `open` to `close` (or as a context). Calls may come from any thread; each waits for the disk. Appends
    take turns, and so does whatever writes a checkpoint: while one is on its way to the disk, appends go on. Tiles are made durable aside.
    """

    def __init__(
        self,
        folder: Path,
        signer: Signer,
        *,
        since: Checkpoint | None = None,
        chance: Callable[[int], bytes] = secrets.token_bytes,
        aside: Callable[[], Executor] = one_thread,
    ) -> None:
        """Touches nothing yet. `since`: what was signed before, as far as somebody remembers; a log that does not go on from it is not
        opened, and none is begun. `chance` gives so many random bytes (salts)."""
        self.verifier = signer.verifier
        self._folder = folder
        self._signer = signer
        self._checkpoint = since
        self._chance = chance
        self._signing = threading.Lock()
        """Held by whatever writes a checkpoint, and taken before the next one."""
        self._mutex = threading.Lock()
        self._closed = False
        self._sound = False
        self.broken = False
        """Whether a write failed: for whoever keeps it open, to do that anew."""
        self._lock: FolderLock | None = None
        self._wal: WriteAhead | None = None
        self._settling = Settling(folder, aside)

    def open(self) -> None:
        """Opens or begins the log, finishing what a crash has left. Once. Raises LogBusy, LogDamaged, OSError, LogBroken after `close`."""
        with self._mutex:
            if self._closed:
                raise LogBroken(f"{self._folder} was closed")
            if self._checkpoint is None:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                sync_path(self._folder.parent)
            self._lock = FolderLock(self._folder)
            self._files = Files(self._folder)
            self._recover()
            self._sound = True

    def close(self) -> None:
        """Waits for a call under way, then lets go of the folder. Nothing is lost that `append` has returned."""
        with self._signing, self._mutex:
            self._closed, self._sound = True, False
            self._settling.close()
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
    def remembered(self) -> Checkpoint | None:
        """The newest checkpoint that is known of: what was told, then what was found or signed."""
        return self._checkpoint

    @property
    def checkpoint(self) -> Checkpoint:
        """What was signed last. Raises LogBroken before `open`."""
        if self._checkpoint is None:
            raise LogBroken(f"{self._folder} was not opened")
        return self._checkpoint

    def seen(self, source: str) -> Seen:
        """How far a source has been taken in."""
        return self._seen.get(source, NOTHING)

    def append(self, rows: Mapping[str, Sequence[Recorded]]) -> range:
        """Takes in what is new of each source's rows, in the order of their positions; their indexes, once they are durable.

        Rows that were taken in before are passed over. Raises OSError, LogBroken; ValueError for rows out of order.
        """
        with self._mutex:
            first = self.size
            batch = batch_of(first, rows, self.seen, self._chance)
            if batch.entries:
                with self._sound_after() as wal:
                    wal.append(msgspec.msgpack.encode(batch))
                    self._take(batch)
            return range(first, self.size)

    def publish(self) -> Checkpoint:
        """Writes tiles and a checkpoint over all that is durable when it begins. Raises OSError, LogBroken."""
        with self._signing:
            with self._mutex, self._sound_after() as wal:
                reached = self._tiled()
                used = max(wal.size / SEGMENT_BYTES_MAX, self._files.written / FILES_MAX)
                if used > 1 and (self._settling.is_idle() or used > BEHIND_MAX):
                    self._give_way()
            if reached != self._checkpoint:
                with self._unsound_by_fault():
                    self._sign(reached)
            return reached

    def attach(self, note: bytes) -> bool:
        """Puts a note that bears more signatures over what was signed last in its place; False where it is over anything else.

        Raises NoteRefused, OSError, LogBroken.
        """
        with self._signing:
            if checkpoints.opened(note, self.verifier) != self._checkpoint:
                return False
            with self._mutex, self._sound_after():
                pass
            with self._unsound_by_fault():
                self._files.write_durably(CHECKPOINT, note)
            return True

    def erase(self, *indexes: int, speaking: Callable[[bytes], bool] | None = None) -> int:
        """Overwrites the payloads of entries wherever this log has them; how many there were. `speaking`: of a sheaf only those records for
        which it holds. Raises OSError, LogBroken, LogDamaged."""
        with self._signing, self._mutex:
            with self._sound_after():
                reached = self._tiled()
                if reached != self._checkpoint:
                    self._sign(reached)
                self._settle()
            return payloads.erase(self._folder, indexes, speaking)

    def resume(self, source: str, seen: Seen) -> None:
        """Goes on after another position than the last one: for a source that was restored from an older state."""
        with self._mutex:
            self._seen[source] = seen

    @contextmanager
    def _sound_after(self) -> Iterator[WriteAhead]:
        """For one who has the mutex. Raises LogBroken where something went wrong before."""
        if not self._sound or self._wal is None:
            raise LogBroken(f"{self._folder} has to be opened again")
        with self._unsound_by_fault():
            self._wal.check_place()
            self._settling.is_idle()
            yield self._wal

    @contextmanager
    def _unsound_by_fault(self) -> Iterator[None]:
        """Whatever goes wrong inside leaves the log unsound: nobody knows what is on the disk until it is read again."""
        try:
            yield
        except BaseException:
            self._sound, self.broken = False, True
            raise

    # --- one record ------------------------------------------------------------------------------------------------------

    def _take(self, batch: Batch) -> None:
        for entry, opening in zip(batch.entries, batch.openings, strict=True):
            self._growing.take(entry, opening)
        self._seen |= batch.sources

    # --- tiles and checkpoint --------------------------------------------------------------------------------------------

    def _tiled(self) -> Checkpoint:
        """What is durable, once tiles have it."""
        if self.checkpoint.size == self.size:
            return self.checkpoint
        self._growing.write_edge()
        return self._reached()

    def _reached(self) -> Checkpoint:
        return Checkpoint(self._signer.verifier.name, self.size, self._growing.root())

    def _sign(self, reached: Checkpoint) -> None:
        """For one who holds what signing takes; appends may go on."""
        self._files.write_durably(CHECKPOINT, checkpoints.signed(reached, self._signer))
        self._checkpoint = reached

    def _give_way(self) -> None:
        """Begins a new write-ahead file. Those before are removed once what they hold is durable in tiles."""
        self._settling.wait()
        self._generation += 1
        older = segments.segments_in(self._folder)
        header = Header(self.size, self._growing.root(), self._growing.payload_bytes, self._seen)
        begun = WriteAhead(self._folder / segments.name_of(self._generation), msgspec.msgpack.encode(header))
        if self._wal is not None:
            self._wal.close()
        self._wal = begun
        older = [path for path in older if path != begun.path]
        self._settling.begin(self._files.unsynced(), older, self._growing.outgrown())

    def _settle(self) -> None:
        """The same, and waits until they are removed."""
        self._give_way()
        self._settling.wait()

    # --- opening ---------------------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        found = segments.standing(self._folder)
        base = found[0].header if found else Header(0, EMPTY_ROOT, 0, {})
        self._generation = found[-1].generation if found else 0
        self._growing = Growing(self._folder, self._files, base.first, base.payload_bytes)
        self._seen = dict[str, Seen]()
        for segment in found:
            self._follow(segment)
        self._growing.write_edge()
        signed = kept_checkpoint(self._folder / CHECKPOINT, self._signer.verifier)
        for known in (signed, self._checkpoint):
            if known is not None:
                check_goes_on(self._growing, known)
        self._growing.cut()
        # What a killed process wrote may be in memory alone: it is signed for once it is on the disk.
        self._settle()
        if signed is None or signed.size < self.size:
            self._sign(self._reached())
        else:
            self._checkpoint = signed

    def _follow(self, segment: Segment) -> None:
        """Takes in what a write-ahead file holds. Raises LogDamaged unless it goes on from what is here."""
        header = segment.header
        if (header.first, header.root) != (self.size, self._growing.root()):
            raise LogDamaged(f"the first {header.first} entries are not those that were written")
        self._seen = dict(header.sources)
        for batch in segment.batches:
            if batch.first != self.size or len(batch.entries) != len(batch.openings):
                raise LogDamaged(f"the write-ahead file goes on at {batch.first}, the log ends at {self.size}")
            self._take(batch)
