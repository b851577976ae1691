"""The record-keeping port: `append` an event in the same transaction as the change it records.

The back end is an outbox table (`foundation.ledger.outbox`), in tests a list in memory. The tamper-evident log drains the outbox.
Events hold pseudonymous ids and metadata only, never personal data.
"""

import enum
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

Tx_contra = TypeVar("Tx_contra", contravariant=True)


class Kind(enum.StrEnum):
    """What is recorded. SHEAF: many records of other kinds under one root (`foundation.ledger.sheaves`)."""

    PLACEMENT = "placement"
    RULES = "rules"
    REGISTRY = "registry"
    ALIAS = "alias"
    FENCE = "fence"
    CROSSING = "crossing"
    REFUSAL = "refusal"
    ACCESS = "access"
    SHEAF = "sheaf"
    SIGNUP = "signup"
    JOB_DECISION = "job_decision"
    GRANT = "grant"
    LOCK = "lock"
    EXCEPTION = "exception"
    SESSION = "session"
    STATEMENT = "statement"
    OUTCOME = "outcome"
    NOTICE = "notice"
    RELEASE = "release"
    SIGN_IN = "sign_in"
    LEDGER_READ = "ledger_read"
    ERASURE = "erasure"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to remember. `id` is unique (appending the same id twice records it once); `at` is unix seconds at the source."""

    id: str
    at: float
    kind: Kind
    actor: str
    subject_id: str | None = None
    details: dict[str, Any] = {}


class Spelled(msgspec.Struct, frozen=True, kw_only=True):
    """The same with its details as the JSON that is to stand, for whoever encodes them anyhow."""

    id: str
    at: float
    kind: Kind
    actor: str
    subject_id: str | None = None
    details: msgspec.Raw


class Record(Protocol[Tx_contra]):
    """`append` is durable when the transaction that it was given commits, and gone when that rolls back."""

    async def append(self, tx: Tx_contra, event: Event) -> None: ...


RecordEvents = Callable[[Sequence[Event]], Awaitable[None]]
"""For events that go with no other change: durable on return. Raises ProblemError when that cannot be had."""
