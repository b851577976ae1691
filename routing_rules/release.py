"""`may_transfer`: may this kind of data of this person leave its cell for that destination and purpose? Pure and total.

A release leaves a copy abroad, so it must pass both questions of the law: the transfer (docs/evaluation.md, section 4) and where data may
lie and be handled (section 5). Stripping changes which tags the data has, never whether the data as such may go.
"""

import datetime
import enum
from collections.abc import Iterator

import msgspec

from foundation.words import CellId, DestinationId
from routing_rules.facts import SubjectFacts
from routing_rules.hints import nearest, shown
from routing_rules.home import (
    citizenships_of,
    copies_of,
    distinct,
    earliest,
    regimes_of,
    region_location,
    stores_of,
    together,
    unmet,
)
from routing_rules.law.places import UNOWNED
from routing_rules.law.questions import (
    Answer,
    Effect,
    Finding,
    Location,
    Reason,
    Regimes,
    StorageQuestion,
    TransferQuestion,
)
from routing_rules.policy import Destination
from routing_rules.rules import Rules


class Consent(enum.StrEnum):
    """What a person said to a purpose. A `withheld` one is heeded whatever else is on file: consent withdrawn (GDPR article 7(3)), an
    objection (article 21), an opt-out of sale (Cal. Civ. Code 1798.120)."""

    GIVEN = "given"
    WITHHELD = "withheld"
    UNSAID = "unsaid"


class ReleaseFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A release: data with `tags` (beyond those of the person) of a person of `cell`, for `purpose`, to an entry of `[destinations]`."""

    subject: SubjectFacts
    cell: CellId
    destination: DestinationId
    purpose: str
    tags: tuple[str, ...] = ()
    consent: Consent = Consent.UNSAID


def may_transfer(facts: ReleaseFacts, rules: Rules, at: datetime.date) -> Finding:
    """The answer on day `at`: allow, allow_with (duties come out), deny, or unknown, which counts as deny. Never raises."""
    policy = rules.policy
    to = policy.destinations.get(facts.destination)
    if to is None:
        what = f"policy: declares no destination {shown(facts.destination)}{nearest(facts.destination, policy.destinations)}"
        return _refused(Answer.UNKNOWN, what)
    if facts.cell not in policy.cells:
        return _refused(Answer.UNKNOWN, f"policy: declares no cell {shown(facts.cell)}")
    if facts.purpose not in to.purposes:
        what = f"policy: destinations.{facts.destination}.purposes does not name {shown(facts.purpose)}"
        return _refused(Answer.DENY, what)
    open_fact = unmet(facts.subject, rules)
    if open_fact is not None:
        return _refused(Answer.UNKNOWN, open_fact)
    if facts.consent is Consent.WITHHELD:
        return _refused(Answer.DENY, f"the person has said no to {facts.purpose}")
    regimes = regimes_of(facts.subject, rules, at)
    if regimes.unknown is not None:
        return _refused(Answer.UNKNOWN, regimes.unknown.what)
    place = destination_location(to, rules)
    found = together((_transfer(facts, regimes, place, to, rules, at), *_storages(facts, regimes, place, rules, at)))
    return msgspec.structs.replace(found, valid_until=earliest((regimes.valid_until, found.valid_until)))


def destination_location(to: Destination, rules: Rules) -> Location:
    return rules.law.location(to.country, to.subdivision)


def _transfer(
    facts: ReleaseFacts, regimes: Regimes, place: Location, to: Destination, rules: Rules, at: datetime.date
) -> Finding:
    question = TransferQuestion(
        regimes=regimes.ids,
        to=place,
        purpose=facts.purpose,
        tags=_tags(facts),
        recipient_classes=to.recipient_classes,
        consented=facts.consent is Consent.GIVEN,
    )
    return rules.law.transfer(question, at)


def _storages(
    facts: ReleaseFacts, regimes: Regimes, place: Location, rules: Rules, at: datetime.date
) -> Iterator[Finding]:
    """Besides every shard where the rows may lie, they lie at the destination, for ever."""
    region = region_location(rules.policy.cells[facts.cell].region, rules)
    citizenships = citizenships_of(facts.subject, rules, at)
    for home in stores_of(facts.cell, rules):
        question = StorageQuestion(
            regimes=regimes.ids,
            citizenships=citizenships,
            tags=_tags(facts),
            primary=home,
            stores=distinct((home, place)),
            processes=distinct((region, place)),
            accesses=distinct((region, place)),
            copies=copies_of(facts.cell, rules),
            hours_abroad=None,
        )
        yield rules.law.storage(question, at)


def _tags(facts: ReleaseFacts) -> tuple[str, ...]:
    return tuple(sorted({*facts.tags, *facts.subject.tags}))


def _refused(answer: Answer, what: str) -> Finding:
    """A refusal that no row of the pack decides; no regime speaks."""
    reason = Reason(regime=UNOWNED, effect=Effect.IS_OPEN, what=what)
    return Finding(answer=answer, reasons=(reason,))
