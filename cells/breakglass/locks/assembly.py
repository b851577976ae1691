"""Locks between cells put together."""

from dataclasses import dataclass
from pathlib import Path

from cells.breakglass.keeper import Keeper
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.locks.following import Following
from cells.breakglass.locks.remembering import Remembering
from cells.breakglass.locks.source import LockSource
from cells.breakglass.locks.telling import Telling
from foundation.clock import Clock
from foundation.ledger.draining import Writer
from foundation.tasks import Worker
from foundation.words import CellId


@dataclass(frozen=True, kw_only=True)
class Locks:
    """One a cell: what was heard, and the workers that hear, remember and tell."""

    elsewhere: Elsewhere
    remembering: Remembering
    following: Following
    telling: Telling

    @property
    def workers(self) -> dict[str, Worker]:
        return {
            "access locks remembered": self.remembering.run,
            "access locks heard": self.following.run,
            "access locks told": self.telling.run,
        }


def locks_of(
    keeper: Keeper,
    *,
    cell: CellId,
    issuer: str,
    source: LockSource,
    clock: Clock,
    folder: Path,
    writer: Writer,
) -> Locks:
    """`issuer`: where engineers sign in; `folder`: of the cell's log, `writer`: what it is written by. What was heard before is taken in
    before this returns, where it can be read."""
    elsewhere = Elsewhere(cell=cell, issuer=issuer, clock=clock, book=keeper.glance)
    remembering = Remembering(folder, writer, elsewhere)
    remembering.begin()
    return Locks(
        elsewhere=elsewhere,
        remembering=remembering,
        following=Following(source, elsewhere, clock, remembering.recalled),
        telling=Telling(
            cell=cell,
            keeper=keeper,
            source=source,
            elsewhere=elsewhere,
            clock=clock,
            recalled=remembering.recalled,
        ),
    )
