"""What became of an open loop's arrivals: one file beside the lines, for the process that conducts."""

from pathlib import Path

import msgspec

FILE = "arrivals.json"
UNDER_WAY_MAX = 2_000
"""Actions at once. One that is due beyond it is dropped and told: the figures then say less than the load that was asked for."""


class Arrivals(msgspec.Struct, frozen=True, kw_only=True):
    """How many were due, and how many of them were dropped."""

    due: int
    dropped: int

    @property
    def missed(self) -> str | None:
        """In words, what of the load did not come about."""
        if not self.dropped:
            return None
        return f"{self.dropped:,} of {self.due:,} arrivals: {UNDER_WAY_MAX:,} were under way when they were due"


def write(arrivals: Arrivals, folder: Path) -> None:
    (folder / FILE).write_bytes(msgspec.json.encode(arrivals))


def read(folder: Path) -> Arrivals | None:
    """None where the driver did not come to its end."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Arrivals)
    except (OSError, msgspec.MsgspecError):
        return None
