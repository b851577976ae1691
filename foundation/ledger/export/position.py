"""How far a sink has taken a log: a small file, durable before anybody counts on it."""

from pathlib import Path

import msgspec

from foundation.ledger.files import replace_durably


class SinkRefused(Exception):
    """The sink belongs to another log, or its position cannot be read: nothing is sent to it until somebody has looked."""


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`following`: the index of the first entry of `origin` that the sink does not have."""

    origin: str
    following: int


def read(path: Path, origin: str) -> int | None:
    """None where nothing was taken yet. Raises SinkRefused, OSError."""
    try:
        held = msgspec.json.decode(path.read_bytes(), type=Position)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as exc:
        raise SinkRefused(f"{path} holds no position: {exc}") from exc
    if held.origin != origin:
        raise SinkRefused(f"{path} is of {held.origin}, not of {origin}")
    return held.following


def write(path: Path, position: Position) -> None:
    """Durable on return. Raises OSError."""
    replace_durably(path, msgspec.json.encode(position) + b"\n")
