"""How far an import has come, kept beside its file so that a later run of the same command goes on."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from directory.bulk.answers import BatchAnswer
from foundation.settings import SettingsError
from gateway.cli.directory.rows import Taken


class Progress(msgspec.Struct):
    """`options`: what else than the file decides what is sent. `file`: digest of all of it, as the last run found it; `sent`: of the rows
    that were sent. `jobs`: the last is the one that batches go into, `batches` of them until now. `told`: where refused rows are, and how
    many bytes of it tell of the rows that were sent."""

    options: str
    file: str = ""
    sent: str = ""
    jobs: list[str] = []
    rows: int = 0
    batches: int = 0
    told: str = ""
    told_bytes: int = 0
    placed: int = 0
    known: int = 0
    refused: int = 0
    cells: dict[str, int] = {}

    def take(self, taken: Taken, answer: BatchAnswer | None, told_bytes: int) -> None:
        self.rows += taken.rows
        self.sent = taken.sent
        self.told_bytes = told_bytes
        self.batches += 1
        self.refused += len(taken.malformed)
        if answer is not None:
            self.placed += answer.placed
            self.known += answer.known
            self.refused += len(answer.refused)
            self.cells = dict(sorted((Counter(self.cells) + Counter(answer.cells)).items()))

    def begin(self, job: str) -> None:
        """From here on batches go into another job."""
        self.jobs = [*self.jobs, job]
        self.batches = 0


def digest_of(file: Path) -> str:
    """Of all its bytes. Raises SettingsError."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as exc:
        raise SettingsError(f"{file} cannot be read ({exc.strerror})") from exc


def options_of(options: tuple[str, ...]) -> str:
    return hashlib.sha256(msgspec.json.encode(options)).hexdigest()


def taken_up(kept: Path, options: str) -> Progress:
    """What a run before came to under the same options, or a beginning. Raises SettingsError."""
    if not kept.exists():
        return Progress(options)
    try:
        found = msgspec.json.decode(kept.read_bytes(), type=Progress)
    except (OSError, msgspec.MsgspecError) as exc:
        raise SettingsError(f"{kept} cannot be read; {anew(kept)}") from exc
    if found.options != options:
        raise SettingsError(f"{kept} is of other options; {anew(kept)}")
    return found


def anew(kept: Path) -> str:
    return f"remove {kept.name} to begin anew (who is placed stays placed, and is counted as known)"


def keep(kept: Path, progress: Progress) -> None:
    beside = kept.with_name(f"{kept.name}.new")
    beside.write_bytes(msgspec.json.encode(progress))
    beside.replace(kept)


def told_in(file: Path, errors: Path | None, *, dry_run: bool) -> Path:
    """Where refused rows go. Those of a dry run go beside those of the import itself, which may be half done."""
    told = errors or file.with_name(f"{file.name}.errors.ndjson")
    return told.with_name(f"{told.stem}.dry-run{told.suffix}") if dry_run else told


@contextmanager
def refusals(told: Path, progress: Progress) -> Iterator[BinaryIO]:
    """The file of refused rows, open behind those of the rows that were sent: what a run that broke off wrote beyond is written anew."""
    before, progress.told = progress.told, str(told.absolute())
    if progress.rows and before == progress.told and told.exists() and told.stat().st_size >= progress.told_bytes:
        with told.open("r+b") as opened:
            opened.truncate(progress.told_bytes)
            opened.seek(progress.told_bytes)
            yield opened
    else:
        with told.open("ab" if progress.rows else "wb") as opened:
            yield opened
