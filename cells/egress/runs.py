"""A run's journal in the cell: what was asked for, each part that is durable, whether it was sealed and released.

It holds keys of rows, so it never leaves with a release. One process works on a run at a time (flock).
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cells.egress.formats import Format
from cells.egress.manifest import PartFile
from foundation.ledger.files import FolderLock, LogBusy, sync_path
from foundation.settings import SettingsError
from foundation.words import CellId, DestinationId

T = TypeVar("T")

RUN, PARTS, SEALED, RELEASED, REPORT = "run.json", "parts.ndjson", "sealed.json", "released.json", "report.json"
RUNS_MAX = 10_000


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was begun with. Another contract, other rules or keys of tokens (`keys`: their check) make another run. `day`: ages are
    counted to it. `out` gets the release, a folder named by its id."""

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

    @property
    def staging(self) -> Path:
        """Where parts lie until the release gets its name: in the same folder, so that one rename gives it."""
        return Path(self.out) / f".{self.id}.partial"

    @property
    def released(self) -> Path:
        return Path(self.out) / self.id

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
    """A part that is durable. `file` is None where no row of it went. `after`: the key to go on from, None when the shard was read."""

    number: int
    shard: str
    file: PartFile | None
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


class Journal:
    """One run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def run(self) -> Run:
        """Raises SettingsError."""
        return _read(self.folder / RUN, Run)

    @property
    def sealed(self) -> str | None:
        """The manifest's digest, from when all of it is durable."""
        path = self.folder / SEALED
        return _read(path, dict[str, str])["manifest"] if path.exists() else None

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
        """Those whose line is whole; a line cut short was never acknowledged."""
        path = self.folder / PARTS
        raw = path.read_bytes() if path.exists() else b""
        return [msgspec.json.decode(line, type=Part) for line in raw.split(b"\n")[:-1]]

    def add(self, part: Part) -> None:
        """Durable when it returns. Raises OSError."""
        path = self.folder / PARTS
        whole = path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0
        with path.open("ab") as out:
            out.truncate(whole)
            out.write(msgspec.json.encode(part) + b"\n")
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


def taken_up(folder: Path, wanted: Run, today: str) -> tuple[Journal, bool]:
    """The journal of the same request that was not finished, if it stands on the same ground still (True); else a new one.

    One on other ground is thrown away with its parts: what was treated under other rules is not released. Raises SettingsError, OSError.
    """
    for journal in journals(folder):
        held = journal.run
        if journal.released or not held.same_request(wanted):
            continue
        ended = any(part.valid_until is not None and part.valid_until <= today for part in journal.parts())
        if held.released.exists() or (held.same_ground(wanted) and not ended):
            return journal, True
        with journal.locked():
            discard(journal)
    journal = Journal(folder / wanted.id)
    journal.begin(wanted)
    return journal, False


def journals(folder: Path) -> list[Journal]:
    """Every run of a cell's folder, by id."""
    if not folder.is_dir():
        return []
    return [Journal(one) for one in sorted(folder.iterdir()) if (one / RUN).is_file()][:RUNS_MAX]


def discard(journal: Journal) -> None:
    """Throws away what was not released: staging first, so that nothing is left that nobody knows of. Raises OSError."""
    shutil.rmtree(journal.run.staging, ignore_errors=True)
    shutil.rmtree(journal.folder)


def write_durably(path: Path, content: bytes) -> None:
    """Whole or not at all, on the disk when it returns. Raises OSError."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(path)
    sync_path(path.parent)


def _read(path: Path, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=shape)
    except (OSError, msgspec.MsgspecError) as exc:
        raise SettingsError(f"{path} is no journal of a release") from exc
