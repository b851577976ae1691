"""What each worker writes down, one JSON line at a time, so that a killed one loses nothing: homes, what was sent, what came back."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from load_tests.oracle.violations import Violation

Outcome = Literal["acknowledged", "repeated", "refused", "maybe"]
"""Of a write: stored and said so; a repeat met it stored already; refused, so not stored; unknown."""
PATTERN = "answers-*.ndjson"


class SignedUp(msgspec.Struct, frozen=True, kw_only=True, tag="home", omit_defaults=True):
    """A person got a home."""

    at: float
    subject: str
    cell: str
    epoch: int
    country: str
    region: str
    jurisdiction: str


class Sending(msgspec.Struct, frozen=True, kw_only=True, tag="sending", omit_defaults=True):
    """A write, or a request from abroad, is about to be sent; without an `Answered` for it, its outcome is unknown.

    `asked`: of a request from abroad, the region that it is sent to; `verb` is then what a crossing of it must say.
    """

    subject: str
    write: str | None = None
    also: tuple[str, ...] = ()
    """Further writes of the same request, stored with it or not at all."""
    table: str | None = None
    trace: str | None = None
    asked: str | None = None
    verb: Literal["read", "write"] | None = None


class Answered(msgspec.Struct, frozen=True, kw_only=True, tag="answer", omit_defaults=True):
    """One answer. `at`: Unix seconds when it was sent (open loop: meant to be sent). `expected`: a refusal that had to come."""

    at: float
    ms: float
    action: str
    country: str
    asked: str
    home: str
    status: int
    subject: str | None = None
    code: str | None = None
    detail: str | None = None
    cell: str | None = None
    epoch: int | None = None
    verdict: str | None = None
    trace: str | None = None
    write: str | None = None
    also: tuple[str, ...] = ()
    """As in `Sending`."""
    outcome: Outcome | None = None
    expected: bool = False
    fenced: bool = False
    """Whether the shard's fence stood in the way: reads and writes of rows, no streams."""
    violations: tuple[Violation, ...] = ()


Line = SignedUp | Sending | Answered


def writes_of(line: Sending | Answered) -> tuple[str, ...]:
    """The ids of all that one request writes."""
    return () if line.write is None else (line.write, *line.also)


_decoder = msgspec.json.Decoder(Line)
_encoder = msgspec.json.Encoder()


class Writer:
    """One worker's lines. Each goes to the operating system before `write` returns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pid = 0
        self._descriptor = -1

    def write(self, line: Line) -> None:
        if self._pid != os.getpid():  # workers are forked: each has a file of its own
            self._pid = os.getpid()
            path = self._folder / f"answers-{self._pid}.ndjson"
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(self._descriptor, _encoder.encode(line) + b"\n")


def lines(folder: Path) -> Iterator[Line]:
    """Every whole line of every worker; a last one that a kill cut short is left out."""
    for path in sorted(folder.glob(PATTERN)):
        with path.open("rb") as file:
            for raw in file:
                if raw.endswith(b"\n"):
                    yield _decoder.decode(raw)


class Tail:
    """Reads on where it stopped: for a view while the load runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._positions: dict[Path, int] = {}

    def read(self) -> Iterator[Line]:
        for path in sorted(self._folder.glob(PATTERN)):
            with path.open("rb") as file:
                file.seek(self._positions.get(path, 0))
                for raw in file:
                    if not raw.endswith(b"\n"):
                        break
                    self._positions[path] = self._positions.get(path, 0) + len(raw)
                    yield _decoder.decode(raw)
