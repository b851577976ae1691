"""`Law`: a pack, read under a profile for one operator with its instruments. Asked questions, it answers; it knows no clock."""

import datetime
from collections.abc import Iterable

import msgspec

from foundation.words import Country, JurisdictionId
from routing_rules.facts import SubjectFacts
from routing_rules.law.calendar import eligible, turning_days
from routing_rules.law.evidence import Register, Tally
from routing_rules.law.obligations import Obligations
from routing_rules.law.places import Atlas
from routing_rules.law.questions import (
    Duty,
    Finding,
    Location,
    Regimes,
    RowRef,
    StorageQuestion,
    TransferQuestion,
)
from routing_rules.law.reasons import Citations
from routing_rules.law.standing import Regimens
from routing_rules.law.storage import Storages
from routing_rules.law.tags import Specials, Vocabulary
from routing_rules.law.transfer import Transfers, rows_of_regimes
from routing_rules.pack import Fact, Pack
from routing_rules.policy import Instrument, Operator, Profile


class Change(msgspec.Struct, frozen=True):
    """On `day` a row or an instrument (by its ref) starts to count (`starts`), or counts for the first time no more."""

    day: datetime.date
    starts: bool
    row: RowRef | None
    instrument: str | None


class Law:
    """The law as one operator stands under it. Compiled once, immutable; every answer is a pure function of question and day.

    Unknown is refused like a prohibition, and no method guesses or raises: what the pack does not say comes back as unknown.
    """

    def __init__(self, pack: Pack, profile: Profile, operator: Operator, instruments: tuple[Instrument, ...]) -> None:
        self._pack = pack
        self._profile: Profile = profile
        self._instruments = instruments
        self._citations = Citations(pack)
        self._atlas = Atlas(pack, profile)
        self._regimens = Regimens(pack, profile, operator.overlays, self._citations)
        vocabulary = Vocabulary(pack, operator.sectors)
        specials = Specials(pack, profile)
        register = Register(instruments, vocabulary)
        tally = Tally(pack, profile, operator)
        self._obligations = Obligations(pack, profile, tally, self._citations)
        self._transfers = Transfers(
            atlas=self._atlas,
            regimens=self._regimens,
            vocabulary=vocabulary,
            specials=specials,
            register=register,
            tally=tally,
            obligations=self._obligations,
            citations=self._citations,
            rows=rows_of_regimes(
                pack,
                profile,
                atlas=self._atlas,
                specials=specials,
                register=register,
                tally=tally,
                obligations=self._obligations,
            ),
        )
        self._storages = Storages(
            pack,
            profile,
            operator,
            atlas=self._atlas,
            regimens=self._regimens,
            vocabulary=vocabulary,
            specials=specials,
            register=register,
            citations=self._citations,
        )

    def regimes_of(self, subject: SubjectFacts, at: datetime.date) -> Regimes:
        """The regimes of a person by residence: owner of the country, its parts, the operator's overlays."""
        return self._regimens.of(subject.residence, subject.subdivision, at)

    def regimes_of_countries(self, countries: Iterable[Country], at: datetime.date) -> tuple[JurisdictionId, ...]:
        """The regimes of all these countries, no part stated: what `StorageQuestion.citizenships` asks for."""
        return tuple(dict.fromkeys(one for country in countries for one in self._regimens.of(country, None, at).ids))

    def location(self, country: Country, subdivision: str | None = None) -> Location:
        """The place by its most exact id (`us-tx` before `us`). Of a country that no row owns, one of which all is unknown."""
        return self._atlas.location(country, subdivision)

    def transfer(self, question: TransferQuestion, at: datetime.date) -> Finding:
        """May data under these regimes go there? docs/evaluation.md, section 4."""
        return self._transfers.ask(question, at)

    def storage(self, question: StorageQuestion, at: datetime.date) -> Finding:
        """May data under these regimes lie and be handled there? docs/evaluation.md, section 5. Never `allow_with`."""
        return self._storages.ask(question, at)

    def duties(self, regime: JurisdictionId, at: datetime.date) -> tuple[Duty, ...]:
        """Every duty of the regime that counts on the day, whatever pulls it."""
        return self._obligations.listed(regime, at)

    def expiring(self, after: datetime.date, before: datetime.date) -> tuple[Change, ...]:
        """What starts or ends on days after `after` and not after `before`, in order of days."""
        found = [
            Change(day, day == row.since, self._citations.ref(row), None)
            for row in self._dated()
            for day in turning_days(row)
            if after < day <= before
        ]
        found += [
            Change(day, day == one.since, None, one.ref)
            for one in self._instruments
            for day in turning_days(one)
            if after < day <= before
        ]
        return tuple(sorted(found, key=lambda change: change.day))

    def _dated(self) -> Iterable[Fact]:
        """Every row that has days, of those that ever count."""
        pack = self._pack
        tables: tuple[tuple[Fact, ...], ...] = (
            *(pack.jurisdictions, pack.groups, pack.special_categories, pack.edges, pack.gateways),
            *(pack.denies, pack.storage, pack.thresholds, pack.obligations),
        )
        for rows in tables:
            yield from eligible(rows, self._profile)
