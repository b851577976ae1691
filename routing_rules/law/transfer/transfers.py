"""May it be transferred? Each regime in turn, then all together. docs/evaluation.md, section 4."""

import datetime
from collections.abc import Iterable

import msgspec

from foundation.words import JurisdictionId
from routing_rules.law.calendar import first_after, holds
from routing_rules.law.evidence import Register, Tally
from routing_rules.law.obligations import AllowedTransfer, Obligations
from routing_rules.law.places import Atlas, Place
from routing_rules.law.questions import Answer, Duty, Effect, Finding, Lack, Reason, TransferQuestion
from routing_rules.law.reasons import Citations, no_place, stray_words, worst_first
from routing_rules.law.standing import Regimens
from routing_rules.law.tags import UNDECLARED, Data, Sight, Specials, Vocabulary
from routing_rules.law.transfer.cover import Cover, Missing, covering, lacking
from routing_rules.law.transfer.rows import Case, RegimeRows, Ways, in_class
from routing_rules.law.transfer.why_open import why_open
from routing_rules.law.truth import Truth
from routing_rules.pack.rows import Deny


class Part(msgspec.Struct, frozen=True):
    """What one regime says."""

    answer: Answer
    reasons: tuple[Reason, ...]
    lacks: tuple[Lack, ...] = ()
    duties: tuple[Duty, ...] = ()
    by_row: bool = False
    """A row of `denies` makes it deny."""


class Transfers:
    """What the regimes of a pack say of transfers. Immutable."""

    def __init__(
        self,
        *,
        atlas: Atlas,
        regimens: Regimens,
        vocabulary: Vocabulary,
        specials: Specials,
        register: Register,
        tally: Tally,
        obligations: Obligations,
        citations: Citations,
        rows: dict[JurisdictionId, RegimeRows],
    ) -> None:
        self._atlas = atlas
        self._regimens = regimens
        self._vocabulary = vocabulary
        self._specials = specials
        self._register = register
        self._tally = tally
        self._obligations = obligations
        self._citations = citations
        self._rows = rows

    def ask(self, question: TransferQuestion, at: datetime.date) -> Finding:
        standing = self._regimens.standing(question.regimes, at)
        unknown = standing.unknown or self._regimens.undeclared_overlays(standing.regimes)
        if unknown:
            return Finding(answer=Answer.UNKNOWN, reasons=unknown, valid_until=standing.changes)
        place = self._atlas.place(question.to)
        if place is None:
            return Finding(answer=Answer.UNKNOWN, reasons=(no_place(question.to.id),), valid_until=standing.changes)
        data = self._vocabulary.read(question.tags)
        classes = None if question.recipient_classes is None else frozenset(question.recipient_classes)
        case = Case(place, question.purpose, classes, data, at, question.consented)
        parts = [part for regime in standing.regimes if (part := self._regime(self._rows[regime], case)) is not None]
        changes = first_after(
            [standing.changes, *(self._rows[regime].changes(place, at) for regime in standing.regimes)], at
        )
        return _together(parts, standing.regimes, data, place, changes)

    def _regime(self, own: RegimeRows, case: Case) -> Part | None:
        """None: the regime is silent."""
        regime = own.regime
        sight = Sight(case.data, self._specials.of(regime, case.at), self._vocabulary.may_be)
        denied, reasons = self._denied(own, case, sight) if own.denies else (Truth.NO, ())
        if denied is Truth.YES:
            return Part(Answer.DENY, reasons, by_row=True)
        if regime in case.place.names:
            home = Reason(regime=regime, effect=Effect.PERMITS, what=f"nothing leaves {regime}")
            return Part(Answer.ALLOW, (home,)) if denied is Truth.NO else Part(Answer.UNKNOWN, reasons)
        if own.silent:
            return None if denied is Truth.NO else Part(Answer.UNKNOWN, reasons)
        part = self._covered(own, case, sight)
        if denied is Truth.NO or part.answer is Answer.DENY:
            return part
        return Part(Answer.UNKNOWN, (*reasons, *part.reasons))

    def _denied(self, own: RegimeRows, case: Case, sight: Sight) -> tuple[Truth, tuple[Reason, ...]]:
        """Does a prohibition apply? With the rows that do, or, where none does, that may."""
        certain: list[Reason] = []
        possible: list[Reason] = []
        for row in own.denies:
            applies = self._applies(row, case, sight) if holds(row, case.at) else Truth.NO
            if applies is Truth.YES:
                certain.append(self._citations.reason(own.regime, Effect.FORBIDS, row, "prohibits it", item=_tag(row)))
            elif applies is Truth.UNKNOWN:
                what = "prohibits it, unless facts that are not declared say otherwise"
                possible.append(self._citations.reason(own.regime, Effect.MAY_FORBID, row, what, item=_tag(row)))
        if certain:
            return Truth.YES, tuple(certain)
        return (Truth.UNKNOWN if possible else Truth.NO), tuple(possible)

    def _applies(self, row: Deny, case: Case, sight: Sight) -> Truth:
        applies = sight.restricts(row.tag)
        if applies is Truth.NO or row.purpose not in (None, case.purpose):
            return Truth.NO
        applies = min(applies, self._atlas.matches(row.to, case.place, case.at), in_class(row, case))
        if applies is Truth.NO or row.threshold_id is None:
            return applies
        return min(applies, self._tally.reached(row.threshold_id, case.at))

    def _covered(self, own: RegimeRows, case: Case, sight: Sight) -> Part:
        """The data as such, every tag that holds and what may hold undeclared: each needs an edge or a satisfied alternative."""
        on_file = self._register.on_file(own.regime, case.place, case.at, consented=case.consented)
        ways = own.ways(case, self._atlas, self._tally)
        items = (None, *case.data.items)
        covers = [covering(ways, item, sight, on_file) for item in items]
        found = [cover for cover in covers if cover is not None]
        if len(found) == len(items):
            return self._allowed(own, case, sight, found)
        uncovered = [item for item, cover in zip(items, covers, strict=True) if cover is None]
        declared = [item for item in uncovered if item != UNDECLARED]
        lacks = lacking(ways, declared, sight, on_file)
        if lacks is None:
            return self._open(own, case, sight, ways, uncovered)
        return self._lacking(own.regime, case.place, lacks)

    def _lacking(self, regime: JurisdictionId, to: Place, missing: tuple[Missing, ...]) -> Part:
        return Part(
            Answer.DENY,
            tuple(
                self._citations.reason(
                    regime,
                    Effect.LACKS_EVIDENCE,
                    one.row,
                    f"no instrument on file shows {' and '.join(one.requirements)}",
                    item=one.tags[0] if one.tags else None,
                )
                for one in missing
            ),
            lacks=tuple(
                Lack(
                    regime=regime,
                    to=to.id,
                    requirements=one.requirements,
                    items=one.tags,
                    row=self._citations.ref(one.row),
                )
                for one in missing
            ),
        )

    def _allowed(self, own: RegimeRows, case: Case, sight: Sight, covers: list[Cover]) -> Part:
        evidenced = [row for cover in covers for row, shown in cover.gateways if shown is not None]
        made = AllowedTransfer(
            purpose=case.purpose,
            to=case.place,
            sight=sight,
            evidenced=evidenced,
            relied_on=[row for cover in covers if cover.needs_evidence for row, _ in cover.gateways]
            if evidenced
            else (),
            by_gateway=any(cover.edge is None for cover in covers),
        )
        duties = self._obligations.of(own.regime, made, case.at)
        answer = Answer.ALLOW_WITH if duties or evidenced else Answer.ALLOW
        return Part(answer, tuple(self._permits(own.regime, covers)), duties=duties)

    def _permits(self, regime: JurisdictionId, covers: list[Cover]) -> Iterable[Reason]:
        """Each row once for each item that it covers."""
        for cover in covers:
            if cover.edge is not None:
                yield self._citations.reason(
                    regime, Effect.PERMITS, cover.edge, "needs no further gateway", item=cover.item
                )
            for row, shown in cover.gateways:
                refs = () if shown is None else (shown.ref,)
                what = "asks for nothing" if shown is None else "is shown"
                yield self._citations.reason(regime, Effect.PERMITS, row, what, item=cover.item, instruments=refs)

    def _open(self, own: RegimeRows, case: Case, sight: Sight, ways: Ways, uncovered: list[str | None]) -> Part:
        found = [
            self._citations.reason(own.regime, Effect.IS_OPEN, row, what)
            for row, what in why_open(own, case, sight, ways, uncovered, self._atlas)
        ]
        if not found:
            what = f"no row of {own.regime} speaks of transfers to {case.place.id}"
            found = [Reason(regime=own.regime, effect=Effect.IS_OPEN, what=what)]
        return Part(Answer.UNKNOWN, (*found, *self._citations.open_transfers(own.regime)))


def _together(
    parts: list[Part], regimes: tuple[JurisdictionId, ...], data: Data, to: Place, changes: datetime.date | None
) -> Finding:
    """All regimes, at least one; `parts` are what those say that are not silent."""
    answers = [part.answer for part in parts]
    reasons = [reason for part in parts for reason in part.reasons]
    if Answer.DENY in answers:
        answer = Answer.DENY
    elif not parts or Answer.UNKNOWN in answers:
        answer = Answer.UNKNOWN
    else:
        answer = Answer.ALLOW_WITH if Answer.ALLOW_WITH in answers else Answer.ALLOW
    if data.strays and not any(part.by_row for part in parts):
        answer = Answer.UNKNOWN
        reasons = [*stray_words(data, regimes[0]), *reasons]
    if not parts:
        what = f"no regime of this person has a row on transfers to {to.id}"
        reasons.append(Reason(regime=regimes[0], effect=Effect.IS_OPEN, what=what))
    return Finding(
        answer=answer,
        reasons=worst_first(reasons),
        lacks=() if data.strays else tuple(lack for part in parts for lack in part.lacks),
        duties=tuple(duty for part in parts for duty in part.duties),
        valid_until=changes,
    )


def _tag(row: Deny) -> str | None:
    return None if row.tag == "*" else row.tag
