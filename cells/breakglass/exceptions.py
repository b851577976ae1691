"""Signed exceptions: a note (C2SP signed-note) of canonical JSON under the key of whoever owns it. Pure.

An exception lifts one rule, for one engineer, for named purposes, in one cell, for at most thirty days; it counts once it stands in the
ledger, and until it runs out or is withdrawn.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from cells.breakglass.steps import Exempted
from cells.breakglass.words import SECOND_US, Purpose, Reason, Rule, parse_engineer
from foundation.ledger import notes
from foundation.ledger.canonical import canonical
from foundation.ledger.notes import MalformedKey, NoteRefused, Signer, Verifier
from foundation.settings import SettingsError
from foundation.words import CellId, MalformedWord

Seconds = Annotated[int, Meta(ge=0, lt=1 << 33)]
"""In microseconds still an exact double, as canonical JSON needs it."""


class ExceptionText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is signed. Times are unix seconds."""

    exception: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]
    cell: str
    rule: Rule
    engineer: str
    purposes: Annotated[tuple[Purpose, ...], Meta(min_length=1, max_length=len(Purpose))]
    since: Seconds
    until: Seconds
    reason: Reason


class ExceptionRefused(Exception):
    """It is not signed by an owner that is believed here, not for this cell, or no exception at all."""


def verifiers_of(texts: Iterable[str]) -> tuple[Verifier, ...]:
    """Raises SettingsError."""
    try:
        return tuple(Verifier.parse(text) for text in texts)
    except MalformedKey as exc:
        raise SettingsError(f"access.exception_keys: {exc}") from exc


def signed(text: ExceptionText, signer: Signer) -> str:
    """The note."""
    return signer.sign(canonical(msgspec.to_builtins(text)).decode() + "\n")


def opened(note: str, owners: Sequence[Verifier], cell: CellId) -> Exempted:
    """The step that makes it count. Raises ExceptionRefused."""
    for owner in owners:
        try:
            text = notes.opened(note.encode(), owner)
        except NoteRefused:
            continue
        return _step(text, note, owner, cell)
    raise ExceptionRefused("no owner of exceptions whom this cell believes has signed it")


def _step(text: str, note: str, owner: Verifier, cell: CellId) -> Exempted:
    try:
        said = msgspec.json.decode(text, type=ExceptionText)
        engineer = parse_engineer(said.engineer)
    except (msgspec.MsgspecError, MalformedWord) as exc:
        raise ExceptionRefused(f"no exception: {exc}") from exc
    if canonical(msgspec.to_builtins(said)).decode() + "\n" != text:
        raise ExceptionRefused("an exception is one line of canonical JSON")
    if said.cell != cell:
        raise ExceptionRefused(f"the exception is for the cell {said.cell}")
    return Exempted(
        exception=said.exception,
        owner=owner.name,
        rule=said.rule,
        engineer=engineer,
        purposes=said.purposes,
        since_us=said.since * SECOND_US,
        until_us=said.until * SECOND_US,
        reason=said.reason,
        note=note,
    )
