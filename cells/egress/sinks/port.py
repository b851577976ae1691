"""The port of sinks: where a release lies. Steps are taken one at a time, in a thread of their own, and each may be repeated."""

from pathlib import Path
from typing import Protocol


class SinkFailed(Exception):
    """The sink did not do what it was asked for; the message names sink, file and what it said, never what the file holds."""


class Sink(Protocol):
    """A release is there when its manifest is, which comes last; files of it that are there before are nobody's, and can be removed.

    Each call raises SinkFailed, or OSError where a disk of this machine gives way.
    """

    @property
    def puts(self) -> bool:
        """Whether parts are to be put. Else they are written where they will lie, and `publish` gives them their name."""
        ...

    def put(self, release: str, file: Path, sha256: str) -> None:
        """One part, whole and durable when it returns."""
        ...

    def remove(self, release: str, name: str) -> None:
        """One file of a release that has no manifest; nothing where there is none."""
        ...

    def publish(self, release: str, staging: Path) -> None:
        """From here on the release is there. `staging` holds its manifest and signature."""
        ...

    def holds(self, release: str) -> bool:
        """Whether the release is there."""
        ...


def is_remote(out: str) -> bool:
    """Whether it is a URL; else it is a folder. Pure."""
    return "://" in out
