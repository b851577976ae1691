"""A run's journal in the cell: what was asked for, each part that is durable, what lies at the sink, whether it was sealed and released.

It holds keys of rows, so it never leaves with a release. One process works on a run at a time (flock).
"""

import asyncio
import functools
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cells.egress.formats import Format
from cells.egress.manifest import PartFile
from cells.egress.sinks.port import Sink, is_remote
from foundation.ledger.files import FolderLock, LogBusy, sync_path, write_durably
from foundation.settings import SettingsError
from foundation.words import CellId, DestinationId

T = TypeVar("T")

RUN, PARTS, SEALED, RELEASED, REPORT = "run.json", "parts.ndjson", "sealed.json", "released.json", "report.json"
PUT, PEOPLE, STAGING = "put.ndjson", "people", "staging"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was begun with. Another contract, other rules or keys of tokens (`keys`: their check) make another run. `day`: ages are
    counted to it. `out`, a folder or a URL, gets the release under its id. `together`: runs of one command have it in common."""

    id: str
    cell: CellId
    table: str
    destination: DestinationId
    purpose: str
    format: Format
    out: str
    day: str
    contract: str
    rules: str
    keys: str
    begun_at: float
    together: str = ""

    @property
    def place(self) -> str:
        """Where the release is once it is released."""
        return f"{self.out.rstrip('/')}/{self.id}"

    def same_request(self, other: "Run") -> bool:
        keys = ("cell", "table", "destination", "purpose", "format", "out")
        return all(getattr(self, key) == getattr(other, key) for key in keys)

    def same_ground(self, other: "Run") -> bool:
        return (self.contract, self.rules, self.keys) == (other.contract, other.rules, other.keys)


class HeldBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch in quarantine: its rows lie between these keys; what was found in which field, how often."""

    shard: str
    first: tuple[str, str]
    rows: int
    found: dict[str, dict[str, int]]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part that is durable. `file` is None where no row of it went. Its rows lie beyond the key `begun` and up to `last`, the last that
    was read; `after`: the key to go on from, None when the shard was read."""

    number: int
    shard: str
    file: PartFile | None
    begun: tuple[str, str]
    last: tuple[str, str] | None
    after: tuple[str, str] | None
    read: int
    rows: int
    stayed: dict[str, int]
    counts: dict[str, dict[str, int]]
    held: tuple[HeldBatch, ...]
    grounds: tuple[str, ...]
    duties: tuple[str, ...]
    treatments: dict[str, dict[str, bool]]
    unmade: dict[str, str]
    valid_until: str | None


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """The digest of a manifest that was signed, and of the `parts` that it speaks of. `number`: of the run's manifests; where people's
    answers changed one follows another."""

    manifest: str
    parts: str
    number: int


class Journal:
    """One run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @functools.cached_property
    def run(self) -> Run:
        """Raises SettingsError."""
        return _read(self.folder / RUN, Run)

    @property
    def staging(self) -> Path:
        """Where parts lie until the release gets its name: in a folder's own, so that one rename gives it; for elsewhere in the cell."""
        return self.folder / STAGING if is_remote(self.run.out) else Path(self.run.out) / f".{self.run.id}.partial"

    @property
    def people(self) -> Path:
        """Whose rows went into which part (`standing`)."""
        return self.folder / PEOPLE

    @property
    def sealed(self) -> Sealed | None:
        """The last sealing, from when all of it is durable."""
        path = self.folder / SEALED
        return _read(path, Sealed) if path.exists() else None

    @property
    def released(self) -> bool:
        return (self.folder / RELEASED).exists()

    def report(self) -> dict[str, Any] | None:
        """What the table's owner is told, once the run is sealed."""
        path = self.folder / REPORT
        return _read(path, dict[str, Any]) if path.exists() else None

    def begin(self, run: Run) -> None:
        self.folder.mkdir(mode=0o700, parents=True)
        self.write(RUN, msgspec.json.encode(run))

    def parts(self) -> list[Part]:
        """By number; of a part that was made anew, as it is now."""
        found = self._lines(PARTS, Part)
        return [part for _, part in sorted({part.number: part for part in found}.items())]

    def add(self, part: Part) -> None:
        """Durable when it returns. Raises OSError."""
        self._append(PARTS, msgspec.json.encode(part))

    def put(self) -> dict[str, bool]:
        """Files at the sink by name: True where they lie there whole, False where something of them may."""
        found: dict[str, bool] = {}
        for name, there in self._lines(PUT, tuple[str, bool | None]):
            found.pop(name, None)
            if there is not None:
                found[name] = there
        return found

    def note(self, name: str, there: bool | None) -> None:
        """False before a file is put, True after, None after it was removed. Durable when it returns. Raises OSError."""
        self._append(PUT, msgspec.json.encode((name, there)))

    def _lines(self, name: str, shape: type[T]) -> list[T]:
        """Those that are whole; a line cut short was never acknowledged. Raises SettingsError."""
        path = self.folder / name
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [_decoded(line, shape, path) for line in lines]

    def _append(self, name: str, line: bytes) -> None:
        path = self.folder / name
        whole = path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0
        with path.open("ab") as out:
            out.truncate(whole)
            out.write(line + b"\n")
            out.flush()
            os.fsync(out.fileno())
        sync_path(self.folder)

    def write(self, name: str, content: bytes) -> None:
        write_durably(self.folder / name, content)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Raises SettingsError where another process works on the run."""
        try:
            lock = FolderLock(self.folder)
        except LogBusy as exc:
            raise SettingsError(f"another process works on run {self.folder.name}") from exc
        try:
            yield
        finally:
            lock.release()


async def taken_up(folder: Path, wanted: Run, today: str, sink: Sink) -> tuple[Journal, bool]:
    """The journal of the same request that was not finished, if it stands on the same ground still (True); else a new one.

    One on other ground is thrown away with its parts, those at the sink too: what was treated under other rules is not released.
    Raises SettingsError, SinkFailed, OSError.
    """
    for journal in journals(folder):
        held = journal.run
        if journal.released or not held.same_request(wanted):
            continue
        ended = any(part.valid_until is not None and part.valid_until <= today for part in journal.parts())
        if (held.same_ground(wanted) and not ended) or await asyncio.to_thread(sink.holds, held.id):
            return journal, True
        with journal.locked():
            await discard(journal, sink)
    journal = Journal(folder / wanted.id)
    journal.begin(wanted)
    return journal, False


def journals(folder: Path) -> list[Journal]:
    """Every run of a cell's folder, by id."""
    if not folder.is_dir():
        return []
    return [Journal(one) for one in sorted(folder.iterdir()) if (one / RUN).is_file()]


async def discard(journal: Journal, sink: Sink) -> None:
    """Throws away what was not released: the journal last, so that nothing is left that nobody knows of. Raises SinkFailed, OSError."""
    for name in sorted(journal.put()):
        await asyncio.to_thread(sink.remove, journal.run.id, name)
    shutil.rmtree(journal.staging, ignore_errors=True)
    shutil.rmtree(journal.folder)


def measured(path: Path) -> tuple[int, str]:
    """Size and SHA-256."""
    with path.open("rb") as read:
        return path.stat().st_size, hashlib.file_digest(read, "sha256").hexdigest()


def _read(path: Path, shape: type[T]) -> T:
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise SettingsError(f"{path} cannot be read ({exc.strerror})") from exc
    return _decoded(raw, shape, path)


def _decoded(raw: bytes, shape: type[T], path: Path) -> T:
    try:
        return msgspec.json.decode(raw, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{path} is no journal of a release: {exc}; mend it, or move its folder away") from exc
