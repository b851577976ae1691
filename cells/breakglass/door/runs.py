"""One run of a statement, from the message that makes it run to what came of it; and the answers that speak of it. Pure."""

import struct

import msgspec

from cells.breakglass.door import naming
from cells.breakglass.door.frames import Error, Malformed
from cells.breakglass.door.ports import Column, Outcome, Statement

COLUMNS_MAX = 4_096
"""Different columns that the results of one text may have."""
TAGS_MAX = 16
"""Tags of one text that are told; the last of them."""
SUSPENDED = "SUSPENDED"
"""A tag of our own: the rows that were asked for came, others are left."""
PREPARED, BOUND, SKIPPED = "prepared", "bound", "skipped"
"""Why a statement was not run: it was given a name; no message executed what was bound; an error, or the session's end, came before."""
_COLUMN = struct.Struct("!ihihih")
_SHORT = struct.Struct("!h")


class Run(msgspec.Struct):
    """`number`: counts from 1 in its session. `columns`: of what it shows, each once; `more`: once that was described a second time,
    those of all. `keeps`: whether it leaves alone what names mean."""

    statement: Statement
    rows: int = 0
    bytes: int = 0
    error: str = ""
    withheld: str = ""
    tags: list[str] = []
    columns: tuple[Column, ...] = ()
    more: dict[Column, None] = {}
    told: bool = False
    keeps: bool = False

    def shows(self, columns: tuple[Column, ...]) -> None:
        """Each once. Raises Malformed where that makes too many."""
        if not self.columns:
            self.columns = columns
        elif columns is not self.columns:
            self.more.update(dict.fromkeys((*self.columns, *columns) if not self.more else columns))
        if len(self.columns) > COLUMNS_MAX or len(self.more) > COLUMNS_MAX:
            raise Malformed(Error("54011", f"the results of one text have at most {COLUMNS_MAX} different columns"))

    def outcome(self) -> Outcome:
        stated, tags = self.statement, self.tags
        return Outcome(
            session=stated.session,
            number=stated.number,
            tag="" if self.error else tags[0] if len(tags) == 1 else "; ".join(tags[-TAGS_MAX:]),
            error=self.error,
            withheld=self.withheld,
            rows=self.rows,
            bytes=self.bytes,
            columns=tuple(self.more) if self.more else self.columns,
        )


class Prepared(msgspec.Struct):
    """A statement by its name. `columns`: None until it was described. `keeps`: whether its runs leave alone what names mean; `recodes`:
    whether they may change how texts are read; `follows`: whether they run what a name in it means by then."""

    text: str
    columns: tuple[Column, ...] | None = None
    keeps: bool = False
    recodes: bool = False
    follows: bool = False

    def __post_init__(self) -> None:
        self.keeps = naming.keeps_names(self.text)
        self.recodes = naming.may_recode(self.text)
        self.follows = naming.follows(self.text)


class Portal(msgspec.Struct):
    """What a Bind made. `executed`: whether an Execute of it went out. `at`: the turn of its Bind, or of its last Execute."""

    run: Run
    prepared: Prepared
    columns: tuple[Column, ...] | None = None
    executed: bool = False
    at: int = 0

    @property
    def described(self) -> tuple[Column, ...] | None:
        """What it shows. Its statement does not say so where a name may mean something else by now."""
        return self.prepared.columns if self.columns is None and not self.prepared.follows else self.columns


def columns(body: bytes) -> tuple[Column, ...]:
    """Of a RowDescription, each once. Raises ValueError."""
    try:
        (count,) = _SHORT.unpack_from(body)
        found, at = [], 2
        for _ in range(count):
            end = body.index(b"\0", at)
            table, attribute, *_ = _COLUMN.unpack_from(body, end + 1)
            found.append(Column(name=body[at:end].decode(), table=table & 0xFFFFFFFF, attribute=attribute))
            at = end + 1 + _COLUMN.size
    except struct.error as exc:
        raise ValueError("a RowDescription ends early") from exc
    return tuple(dict.fromkeys(found))


def fields(body: bytes) -> dict[str, str]:
    """Of an ErrorResponse or NoticeResponse, by their letters."""
    parts = (part.decode(errors="replace") for part in body.split(b"\0") if part)
    return {part[0]: part[1:] for part in parts}


def tag(body: bytes) -> str:
    """Of a CommandComplete."""
    return body.partition(b"\0")[0].decode(errors="replace")
