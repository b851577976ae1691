"""Records handed over together, what they share said once: how a gateway gives them to a cell, and how they lie in an outbox. Pure."""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from foundation.ledger.entries import Single

RECORDS_MAX = 1_000
"""Handed over together."""
DETAILS_MAX = 16
"""Members of what is shared: each stands in each of its records again, some 4 KiB at most."""
EVENT_PREFIX = "sheaf:"
"""What ids of these events begin with. A record's id is its sheaf's, a slash, and its number."""

_TEXT = r"^[^\x00-\x1f\x7f]*$(?!\n)"
_Text = Annotated[str, Meta(max_length=200, pattern=_TEXT)]


class Shared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What many records say alike. `actor`: a service that acts for somebody; None where it is the subject of each."""

    kind: Literal["access"]
    actor: Annotated[str, Meta(min_length=1, max_length=200, pattern=_TEXT)] | None
    details: Annotated[
        dict[Annotated[str, Meta(pattern=r"^[a-z_]{1,40}$(?!\n)")], _Text | None], Meta(max_length=DETAILS_MAX)
    ]


Row = tuple[
    Annotated[int, Meta(ge=0, lt=RECORDS_MAX)],
    Annotated[int, Meta(gt=0, lt=100_000_000_000_000_000)],
    Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$(?!\n)")],
    Annotated[int, Meta(ge=0)],
    Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")],
]
"""One record: which of what is shared, microseconds since 1970, subject id, epoch, trace id."""


class Handed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`rows`: of each record which of `shared`, microseconds since 1970, subject id, epoch, trace id. `lost`: how many records before
    these found no room, and will stand nowhere."""

    shared: Annotated[tuple[Shared, ...], Meta(max_length=RECORDS_MAX)]
    rows: Annotated[tuple[Row, ...], Meta(max_length=RECORDS_MAX)]
    lost: Annotated[int, Meta(ge=0, lt=1 << 53)] = 0

    def mistake(self) -> str | None:
        """What the types cannot say."""
        if any(row[0] >= len(self.shared) for row in self.rows):
            return "a row names something shared that is not there"
        if not self.rows and not self.lost:
            return "there is no record, and none was lost"
        return None


_decode = msgspec.json.Decoder(Handed).decode


def read(details: bytes | msgspec.Raw) -> Handed | None:
    """None where they say something else, as another release may."""
    try:
        found = _decode(details)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return None if found.mistake() else found


def singles(event_id: str, handed: Handed) -> Iterator[Single]:
    """The records one by one, each whole."""
    for number, (shared, at_us, subject, epoch, trace_id) in enumerate(handed.rows):
        alike = handed.shared[shared]
        yield Single(
            actor=alike.actor or subject,
            at_us=at_us,
            details=msgspec.Raw(msgspec.json.encode({**alike.details, "epoch": epoch, "trace_id": trace_id})),
            id=f"{event_id}/{number}",
            kind=alike.kind,
            subject_id=subject,
        )
