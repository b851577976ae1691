"""Reasons of answers: rows by name, and the lines that say what is open about a regime's law."""

import datetime
from collections.abc import Iterable, Sequence

from foundation.words import JurisdictionId
from routing_rules.law.calendar import holds
from routing_rules.law.questions import Effect, Reason, RowRef
from routing_rules.law.tags import Data
from routing_rules.pack import Fact, Pack
from routing_rules.pack.rows import Unresolved

TRANSFER_FIELDS = frozenset({"transfer_allow", "transfer_condition", "to", "scope", "until", "law", "threshold"})
STORAGE_FIELDS = frozenset({"storage_rule", "storage_scope", "region", "detail", "tag", "from", "law"})

_WORST_FIRST = (Effect.FORBIDS, Effect.LACKS_EVIDENCE, Effect.MAY_FORBID, Effect.IS_OPEN, Effect.PERMITS)


class Citations:
    """Every row of a pack under the name by which answers refer to it, made once."""

    def __init__(self, pack: Pack) -> None:
        self._refs: dict[tuple[str, int], RowRef] = {
            (row.file, row.line): RowRef(row.file, row.line, row.name) for row in _rows(pack)
        }
        self._open_transfers = {row.id: self._lines(pack, row.id, TRANSFER_FIELDS) for row in pack.jurisdictions}
        self._open_storage = {row.id: self._lines(pack, row.id, STORAGE_FIELDS) for row in pack.jurisdictions}

    def ref(self, row: Fact | Unresolved) -> RowRef:
        found = self._refs.get((row.file, row.line))
        return found if found is not None else RowRef(row.file, row.line, row.name)

    def reason(
        self,
        regime: JurisdictionId,
        effect: Effect,
        row: Fact,
        what: str,
        *,
        item: str | None = None,
        instruments: tuple[str, ...] = (),
    ) -> Reason:
        """`what` goes on from the row's name."""
        ref = self.ref(row)
        return Reason(
            regime=regime, effect=effect, what=f"{ref.name}: {what}", row=ref, item=item, instruments=instruments
        )

    def open_transfers(self, regime: JurisdictionId) -> tuple[Reason, ...]:
        return self._open_transfers.get(regime, ())

    def open_storage(self, regime: JurisdictionId) -> tuple[Reason, ...]:
        return self._open_storage.get(regime, ())

    def _lines(self, pack: Pack, regime: JurisdictionId, fields: frozenset[str]) -> tuple[Reason, ...]:
        return tuple(
            Reason(
                regime=regime,
                effect=Effect.IS_OPEN,
                what=f"unresolved.csv line {line.line}: {line.text} ({line.why})",
                row=self.ref(line),
            )
            for line in pack.open_lines(regime)
            if line.field in fields
        )


def worst_first(reasons: Sequence[Reason]) -> tuple[Reason, ...]:
    """What forbids, what lacks evidence, what may forbid, what is open, what permits; each kind in the order given."""
    return tuple([reason for effect in _WORST_FIRST for reason in reasons if reason.effect is effect])


def off_day(row: Fact, at: datetime.date) -> str | None:
    """Why an eligible row does not count on the day; None if it does."""
    if holds(row, at):
        return None
    if row.since is not None and at < row.since:
        return f"counts from {row.since} only"
    return f"counted until {row.until}"


def no_place(where: str) -> Reason:
    return Reason(
        regime=JurisdictionId(where), effect=Effect.IS_OPEN, what=f"{where} is no place that a row of the pack knows"
    )


def stray_words(data: Data, regime: JurisdictionId) -> tuple[Reason, ...]:
    """Words that are no tags leave the answer open. They are the caller's, so they are counted and not repeated."""
    if not data.strays:
        return ()
    what = f"{len(data.strays)} of the tags are none that the pack knows"
    return (Reason(regime=regime, effect=Effect.IS_OPEN, what=what),)


def _rows(pack: Pack) -> Iterable[Fact | Unresolved]:
    for rows in (
        pack.jurisdictions,
        pack.groups,
        pack.tags,
        pack.special_categories,
        pack.edges,
        pack.gateways,
        pack.denies,
        pack.storage,
        pack.thresholds,
        pack.obligations,
        pack.unresolved,
    ):
        yield from rows
