"""What the law is asked and what it answers, as values. docs/evaluation.md says how one leads to the other."""

import datetime
import enum

import msgspec

from foundation.words import Country, JurisdictionId


class Answer(enum.StrEnum):
    """`unknown` is refused like `deny`, and says what would have to be known."""

    ALLOW = "allow"
    ALLOW_WITH = "allow_with"
    DENY = "deny"
    UNKNOWN = "unknown"

    @property
    def allows(self) -> bool:
        return self in (Answer.ALLOW, Answer.ALLOW_WITH)


class Location(msgspec.Struct, frozen=True):
    """A place: the most exact jurisdiction id known of it (`us-tx` before `us`), and its country where it is one country."""

    id: JurisdictionId
    country: Country | None = None


class Regimes(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is under. `owner` of the country; `stated`: parts of it that the country itself or the stated part leads to;
    `assumed`: parts that may be theirs, since none is stated; `overlays` of the operator. `unknown`: why nothing is known of them, if so.
    """

    owner: JurisdictionId
    stated: tuple[JurisdictionId, ...] = ()
    assumed: tuple[JurisdictionId, ...] = ()
    overlays: tuple[JurisdictionId, ...] = ()
    unknown: "Reason | None" = None
    valid_until: datetime.date | None = None

    @property
    def ids(self) -> tuple[JurisdictionId, ...]:
        return (self.owner, *self.stated, *self.assumed, *self.overlays)


class TransferQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """May data under all of `regimes` go to `to`? `recipient_classes`: what is proven of the recipient; None: nothing is known of it.

    `tags` are canonical or aliases. The operator's facts and instruments are the law's own (`Law`), not the question's. `consented`: False
    where these persons have not consented, so that no instrument of gateway `consent` speaks for them (GDPR article 49(1)(a): "the data
    subject has explicitly consented").
    """

    regimes: tuple[JurisdictionId, ...]
    to: Location
    purpose: str
    tags: tuple[str, ...] = ()
    recipient_classes: tuple[str, ...] | None = None
    consented: bool = True


class StorageQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """May data under all of `regimes` lie and be handled so? `citizenships`: regimes of the person's citizenships, None: not known.

    `hours_abroad`: how long anything is left where it was only processed or accessed; None: no bound.
    """

    regimes: tuple[JurisdictionId, ...]
    citizenships: tuple[JurisdictionId, ...] | None
    tags: tuple[str, ...]
    primary: Location
    stores: tuple[Location, ...]
    processes: tuple[Location, ...]
    accesses: tuple[Location, ...]
    copies: tuple[Location, ...] = ()
    hours_abroad: int | None = None


class RowRef(msgspec.Struct, frozen=True):
    """A row of the pack: file (`edges`), line in it (the header is 1), and what names it there (`eu -> us-dpf`)."""

    file: str
    line: int
    name: str


class Effect(enum.StrEnum):
    """What a row does to the answer."""

    PERMITS = "permits"
    FORBIDS = "forbids"
    MAY_FORBID = "may_forbid"
    """It would forbid if a fact that is not declared were so."""
    LACKS_EVIDENCE = "lacks_evidence"
    """A gateway that would do, were its instruments on file."""
    IS_OPEN = "is_open"
    """It says nothing for this case or day, or says itself that it is incomplete."""


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One thing the answer rests on. `item`: the tag it is about, None for the data as such. `row` is None where no row speaks.

    `instruments`: refs of the operator's evidence that was relied on. `what`: a clause for people, without personal data.
    """

    regime: JurisdictionId
    effect: Effect
    what: str
    row: RowRef | None = None
    item: str | None = None
    instruments: tuple[str, ...] = ()


class Lack(msgspec.Struct, frozen=True, kw_only=True):
    """What would turn a refusal into a yes: all of `requirements` as instruments from -> to that cover `items` (() = the base only)."""

    regime: JurisdictionId
    to: JurisdictionId
    requirements: tuple[str, ...]
    items: tuple[str, ...]
    row: RowRef


class Duty(msgspec.Struct, frozen=True, kw_only=True):
    """An obligation that comes with the answer. `deadline` in `unit` (hours, days, working_days, months) `relative_to` the trigger."""

    regime: JurisdictionId
    trigger: str
    action: str
    deadline: int
    unit: str
    relative_to: str
    row: RowRef


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The law's answer. `reasons` are those that decided it, worst first; `valid_until`: the first day on which it may be another."""

    answer: Answer
    reasons: tuple[Reason, ...]
    lacks: tuple[Lack, ...] = ()
    duties: tuple[Duty, ...] = ()
    valid_until: datetime.date | None = None

    @property
    def ground(self) -> str:
        """The deciding reason in a clause."""
        return self.reasons[0].what if self.reasons else "nothing crosses a border"
