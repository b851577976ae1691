"""What a sweep finds, as values."""

import msgspec


class Row(msgspec.Struct, frozen=True):
    table: str
    subject: str
    id: str
    cell: str
    shard: str


class Fence(msgspec.Struct, frozen=True):
    subject: str
    epoch: int
    state: str
    cell: str
    shard: str


class Crossing(msgspec.Struct, frozen=True):
    subject: str
    trace: str
    ground: str
    from_region: str
    verb: str
    cell: str
    shard: str


class Placed(msgspec.Struct, frozen=True):
    """What the directory says of a subject."""

    subject: str
    cell: str
    shard: str
    epoch: int
    state: str


class Found(msgspec.Struct, kw_only=True):
    """All of it."""

    rows: list[Row] = []
    fences: list[Fence] = []
    closing: list[tuple[str, str]] = []
    crossings: list[Crossing] = []
    placed: list[Placed] = []
