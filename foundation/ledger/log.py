"""A log that is written: entries are durable before anybody is told, then stand in tiles, then under a signed checkpoint.

Rules that it keeps:
- `append` returns once its entries, their payloads and the positions of their sources are on the disk, in one record.
- A checkpoint is signed only over entries that are; and only when the tree that was signed last is the beginning of this one.
- An index belongs to one entry for ever. After a fault of the disk nothing is written until the log was closed and read again; then
  everything that may be in memory alone is written anew, and durable before any file counts on it: a sync that failed once proves nothing
  when it succeeds later.
- What waits for its tiles has a bound, however long these take: beyond it nothing is taken in.
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

from foundation.ledger import checkpoints, files, opening, payloads
from foundation.ledger.ahead import Ahead
from foundation.ledger.checkpoints import CHECKPOINT, Checkpoint
from foundation.ledger.entries import Recorded
from foundation.ledger.files import Files, FolderLock, sync_path
from foundation.ledger.growing import write
from foundation.ledger.notes import Signer
from foundation.ledger.salts import Salts
from foundation.ledger.segments import Batch, Header, Sealed, Seen, batch_of
from foundation.ledger.settling import one_thread
from foundation.ledger.wal import WriteAhead

NOTHING = Seen(0, "")
GROWN_BY_APPENDS = range(64, 129)
"""So many entries, when they wait for it, are taken into the tree by the next append: fewer wait for more, and more of them are left to
whoever signs, beside further appends."""


class LogBroken(Exception):
    """A write failed before: close the log and open it again."""


class Log:
    """The writer of one folder, from `open` to `close` (or as a context). Calls may come from any thread; each waits for the disk.

    Appends take turns, and so does whatever writes a checkpoint: while one is on its way to the disk, or payloads are being erased, appends
    go on. Tiles are made durable aside.
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
        self._salts = Salts(chance)
        self._erasing = threading.Lock()
        """Held while payloads are overwritten, and taken before the next ones."""
        self._signing = threading.Lock()
        """Held by whatever writes tiles or a checkpoint, and taken before the next ones."""
        self._mutex = threading.Lock()
        self._closed = False
        self._sound = False
        self.broken = False
        """Whether a write failed: for whoever keeps it open, to do that anew."""
        self._lock: FolderLock | None = None
        self._ahead = Ahead(folder, aside)
        self._size = 0
        self._ungrown = list[Batch]()
        """Durable, and not in the tree yet."""
        self._growing_aside = False
        """Whether the tree takes in something just now for one who signs: whoever appends leaves it alone."""

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
        with self._erasing, self._signing, self._mutex:
            self._closed, self._sound = True, False
            try:
                self._ahead.close()
            finally:
                if self._lock is not None:
                    self._lock.release()
                self._lock = None

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
        return self._size

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

        Rows that were taken in before are passed over. Until `publish` what tiles and payloads will have is held in memory. Raises OSError,
        LogBroken; LogBehind, after which the log is as it was; ValueError for rows out of order.
        """
        with self._mutex:
            self._ahead.check_room()
            return self._appended(batch_of(self.size, rows, self.seen, self._salts.take))

    def append_sealed(self, sealed: Sealed) -> range:
        """As `append`, of a source whose rows nobody else appends: all of these are new."""
        with self._mutex:
            self._ahead.check_room()
            if sealed.first <= self.seen(sealed.source).position:
                raise ValueError(f"{sealed.source}: position {sealed.first} was taken in before")
            return self._appended(Batch(self.size, sealed.entries, sealed.openings, {sealed.source: sealed.seen}))

    def _appended(self, batch: Batch) -> range:
        """For one who has the mutex."""
        if batch.entries:
            with self._sound_after(place=False) as wal:  # which looks itself, once it has written
                self._grow_a_little()
                wal.append(batch)
            self._ungrown.append(batch)
            self._size += len(batch.entries)
            self._seen |= batch.sources
        return range(batch.first, self.size)

    def publish(self) -> Checkpoint:
        """Writes tiles and a checkpoint over all that is durable when it begins, at least. Raises OSError, LogBroken."""
        with self._signing:
            return self._published()

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
        with self._erasing:
            with self._signing:
                self._published(giving_way=True)
                with self._unsound_by_fault():
                    self._ahead.settle()
            # No write-ahead file holds them any more, and nothing is written where they lie. Where a sync fails, others of these files may
            # be in memory alone for ever.
            with self._unsound_by_fault(OSError):
                return payloads.erase(self._folder, indexes, speaking)

    def resume(self, source: str, seen: Seen) -> None:
        """Goes on after another position than the last one: for a source that was restored from an older state."""
        with self._mutex:
            self._seen[source] = seen

    @contextmanager
    def _sound_after(self, *, place: bool = True) -> Iterator[WriteAhead]:
        """For one who has the mutex. `place`: looks whether the write-ahead file lies in its own. Raises LogBroken where something
        went wrong before."""
        wal = self._ahead.current
        if not self._sound or wal is None:
            raise LogBroken(f"{self._folder} has to be opened again")
        with self._unsound_by_fault():
            self._ahead.check(place=place)
            yield wal

    @contextmanager
    def _unsound_by_fault(self, kind: type[BaseException] = BaseException) -> Iterator[None]:
        """What of this kind goes wrong inside leaves the log unsound: nobody knows what is on the disk until it is read again."""
        try:
            yield
        except kind:
            self._sound, self.broken = False, True
            raise

    # --- tiles and checkpoint --------------------------------------------------------------------------------------------

    def _published(self, *, giving_way: bool = False) -> Checkpoint:
        """For one who holds what signing takes. `giving_way`: whether or not the write-ahead file is full."""
        with self._grown():
            reached, writes = self._reached(), self._growing.writes()
        with self._unsound_by_fault():
            write(writes)
            if not giving_way:
                self._ahead.prepare()
            giving_way = self._ahead.is_due(self._files.written) or giving_way
        with self._mutex, self._sound_after():
            pass  # after another's fault meanwhile nothing is signed
        if giving_way:
            reached = self._gave_way()
        if reached != self._checkpoint:
            with self._unsound_by_fault():
                self._sign(reached)
        return reached

    @contextmanager
    def _grown(self) -> Iterator[None]:
        """Inside it the tree has what was appended until now, and nobody else touches it: appends go on."""
        with self._mutex, self._sound_after():
            appended, self._ungrown = self._ungrown, []
            self._growing_aside = True
        with self._unsound_by_fault():
            self._take(appended)
            yield
        with self._mutex:
            self._growing_aside = False

    def _grow_a_little(self) -> None:
        """For one who appends: takes what is little into the tree, so that it is not much for whoever signs."""
        if not self._growing_aside and self._size - self._growing.size in GROWN_BY_APPENDS:
            appended, self._ungrown = self._ungrown, []
            self._take(appended)

    def _take(self, appended: Sequence[Batch]) -> None:
        for batch in appended:
            self._growing.take(batch.entries, batch.openings)

    def _reached(self) -> Checkpoint:
        return Checkpoint(self._signer.verifier.name, self._growing.size, self._growing.root())

    def _sign(self, reached: Checkpoint) -> None:
        """Appends may go on."""
        self._files.write_durably(CHECKPOINT, checkpoints.signed(reached, self._signer))
        self._checkpoint = reached

    def _gave_way(self) -> Checkpoint:
        """As `_published`. Of what came meanwhile, too: the file that has it is removed once its tiles are durable."""
        with self._unsound_by_fault():
            self._ahead.make_following()
        with self._grown():
            pass
        with self._mutex, self._sound_after():
            self._take(self._ungrown)
            self._ungrown = []
            reached, writes, outgrown = self._reached(), self._growing.writes(), self._growing.outgrown()
            self._ahead.give_way(self._header(reached))
        with self._unsound_by_fault():
            write(writes)
            self._ahead.begin_settling(self._files.unsynced(), outgrown)
        return reached

    def _header(self, reached: Checkpoint) -> Header:
        return Header(reached.size, reached.root, self._growing.payload_bytes, self._seen)

    def _recover(self) -> None:
        stood = opening.stood(self._folder, self._files, self._signer.verifier, self._checkpoint)
        self._growing, self._seen, self._ahead.generation = stood.growing, stood.seen, stood.generation
        self._size = stood.growing.size
        # What a killed process wrote may be in memory alone, and so may what was to be durable when a sync failed, whatever a later one
        # says of it. All of it was written anew: it is on the disk before the next file says so, and before it is signed for.
        files.sync(self._folder, self._files.unsynced())
        reached = self._reached()
        self._ahead.make_following()
        self._ahead.give_way(self._header(reached))
        self._ahead.begin_settling((), self._growing.outgrown())
        self._ahead.settle()
        if stood.signed is None or stood.signed.size < reached.size:
            self._sign(reached)
        else:
            self._checkpoint = stood.signed
