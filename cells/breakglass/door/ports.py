"""What the door needs of others, as values and ports: whose session it is, what it is about to run, what came of it."""

import enum
from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from foundation.mute import Secret


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One connection to one shard under one certificate. `id`: by chance. `certificate`: its serial number, as the ledger has it. `inside`:
    whether the engineer stands inside the data's jurisdiction. `expires_at`: unix seconds."""

    id: str
    grant: str
    engineer: str
    certificate: str
    purpose: str
    ticket: str
    shard: str
    inside: bool
    subjects: tuple[str, ...]
    expires_at: float


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What a message is about to run. `number`: from 1 on within the session. `text`: as the client sent it. `formats`: of the parameters,
    as Bind has them: none (all text), one for all, or one each."""

    session: str
    number: int
    text: str
    parameters: tuple[bytes | None, ...] = ()
    formats: tuple[int, ...] = ()
    kind: Literal["simple", "extended", "prepared"]


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a result, as RowDescription names it. `table`, `attribute`: where it comes from, 0 for what was computed. `source`: the
    same as `schema.table.column`, as far as the wall knows it. `masked`: whether the wall masks it for this session."""

    name: str
    table: int = 0
    attribute: int = 0
    source: str = ""
    masked: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a statement. `tag`: CommandComplete's, "" where it failed; `error`: SQLSTATE, or "". `withheld`: why it was not run
    after all, or ""."""

    session: str
    number: int
    tag: str = ""
    error: str = ""
    withheld: str = ""
    rows: int = 0
    bytes: int = 0
    columns: tuple[Column, ...] = ()


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What a grant has had, over all its sessions. `recorded`: bytes in the ledger of its statements and what came of them. `told`: whether
    it is known what came of each."""

    rows: int = 0
    bytes: int = 0
    recorded: int = 0
    told: bool = True


class Ending(enum.StrEnum):
    """Why nothing runs any more, or not now. Closed."""

    EXPIRED = "expired"
    ENDED = "ended"
    LOCKED = "locked"
    TICKET = "ticket"
    STALE = "stale"
    NOT_RECORDED = "not_recorded"
    SPENT = "spent"
    UNKNOWN = "unknown"
    WALL = "wall"


class NotRun(Exception):
    """The statement may not run, or the session not begin."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.value)
        self.ending = ending


class Intent(Protocol):
    """A statement on its way to the record."""

    def give_up(self) -> None:
        """Whoever asked hears nothing of it any more, and runs nothing. Once."""
        ...


class Record(Protocol):
    """What happens, on the record. Sessions are `opened` first and `closed` last."""

    async def spent(self, grant: str) -> Spent:
        """What sessions of a grant had before this process began. Raises NotRun while that is not known."""
        ...

    async def opened(self, session: Session, backend: str, end: Callable[[Ending], None]) -> None:
        """Durable on return; from then on the session is watched. `backend`: the session in Postgres' own words (`backend_of`). `end` is
        called once, from the event loop, when the session has to end. Raises NotRun."""
        ...

    def intend(self, statement: Statement, then: Callable[[Ending | None], None]) -> Intent:
        """`then` is called once, from the event loop and after this has returned, unless the intent is given up: with None, it is durable
        and the session may still run it; else it must not. Raises NotRun where that is clear at once."""
        ...

    def ended(self, outcome: Outcome) -> None:
        """Recorded soon."""
        ...

    async def closed(self, session_id: str, why: str) -> None:
        """Recorded soon, with every outcome before it; the session is not watched any more."""
        ...


class Wall(Protocol):
    """The roles that sessions run as, and what each of them may see there. Nothing that a session can set decides anything."""

    async def credentials(self, shard: str, *, inside: bool) -> Secret[str]:
        """The DSN of the fixed role; good for connecting within some seconds. Raises NotRun."""
        ...

    async def admit(self, session: Session, pid: int) -> float:
        """Lets the backend `pid` see what the session may see, and nothing else. When it started (unix seconds). Raises NotRun."""
        ...

    async def leave(self, session_id: str) -> None:
        """The session's backend sees nothing any more. Never raises."""
        ...

    def named(self, session: Session, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        """The same columns, as the wall knows them: where they come from, and whether they are masked for this session."""
        ...


def backend_of(started_s: float, pid: int) -> str:
    """A session as Postgres' log names it (`%c`): when its backend started (unix seconds), and its process."""
    return f"{int(started_s):x}.{pid:x}"
