"""One struct per file of the pack: what a row is. The columns' meaning stands in README.md beside the files.

Every row knows its line in its file (the header is line 1), so that an answer can name it. Blank cells are None or (), never filled in.
"""

import datetime
import enum
from typing import ClassVar, Literal

import msgspec

from foundation.words import Country, JurisdictionId

Profile = Literal["both", "cautious", "common"]
Confidence = Literal["high", "medium", "low"]
Precision = Literal["day", "month", "year", "unknown"]
Basis = Literal["stated", "as_of", "unknown"]
Requirement = Literal[
    "scc",
    "bcr",
    "contract",
    "certification",
    "consent",
    "approval",
    "notification",
    "impact_assessment",
    "self_assessed_adequacy",
    "accountability",
    "none",
]
Unit = Literal["hours", "days", "working_days", "months"]


class Kind(enum.StrEnum):
    """What a jurisdiction is. Only `state` and `bloc` own countries whose law is known; `default` owns those of which nothing is known."""

    STATE = "state"
    BLOC = "bloc"
    SUBDIVISION = "subdivision"
    OVERLAY = "overlay"
    SCHEME = "scheme"
    DEFAULT = "default"


class Status(enum.StrEnum):
    IN_FORCE = "in_force"
    ENACTED = "enacted"
    PROMISED = "promised"
    REPEALED = "repealed"
    DISPUTED = "disputed"


class StorageRule(enum.StrEnum):
    """What is asked of a place, in the words of storage.csv."""

    COPY_LOCAL = "copy_local"
    PROCESS_HERE_OR_COPY_LOCAL = "process_here_or_copy_local"
    PRIMARY_LOCAL = "primary_local"
    LOCAL_ONLY = "local_only"


class DataVerb(enum.StrEnum):
    """What storage rules speak of; not the verb of a request."""

    STORE = "store"
    PROCESS = "process"
    ACCESS = "access"


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """What every row has. `since`, `until`: first and last day on which it holds; a blank `since` means that it never counts."""

    file: ClassVar[str] = ""
    """Name of the row's file without `.csv`."""
    permits: ClassVar[bool] = False
    """Permissions that are disputed never count; restrictions do."""

    line: int
    fact_ref: tuple[str, ...]
    status: Status
    profile: Profile
    since: datetime.date | None
    until: datetime.date | None
    date_precision: Precision
    since_basis: Basis
    source: str
    confidence: Confidence
    note: str

    @property
    def name(self) -> str:
        """What names the row in its file, for people: `eu -> us-dpf`."""
        raise NotImplementedError


class Jurisdiction(Fact, frozen=True, kw_only=True):
    """A regime. `dsar_*`, `breach_notice`: clocks with their units; `rights_since` where these start later than the row."""

    file: ClassVar[str] = "jurisdictions"
    permits: ClassVar[bool] = True

    id: JurisdictionId
    label: str
    """Column `name`."""
    kind: Kind
    parent: JurisdictionId | None
    countries: tuple[Country, ...]
    subdivisions: tuple[str, ...]
    law: str
    general_storage_rule: Literal["free", "copy_local", "primary_local", "local_only", "unknown"] | None
    dsar_access: int | None
    dsar_extension: int | None
    unit: Literal["days", "working_days"] | None
    breach_notice: int | None
    """Column `breach_notice_hours`, in `breach_unit`."""
    breach_unit: Literal["hours", "working_days"] | None
    erasure: bool | None
    portability: bool | None
    opt_out_sale: bool | None
    rights_since: datetime.date | None
    as_of: str

    @property
    def name(self) -> str:
        return self.id


class Member(Fact, frozen=True, kw_only=True):
    """One member of a named destination set; None: no member is known. `membership_complete` False: who is not listed is unknown."""

    file: ClassVar[str] = "groups"
    permits: ClassVar[bool] = True

    group: str
    member: JurisdictionId | None
    membership_complete: bool

    @property
    def name(self) -> str:
        return f"{self.group}: {self.member or 'no known member'}"


class Tag(Fact, frozen=True, kw_only=True):
    file: ClassVar[str] = "tags"

    tag: str
    label: str
    kind: Literal["special_category", "sector", "operator", "age", "volume", "other"]
    aliases: tuple[str, ...]
    may_be: tuple[str, ...]
    fideslang: str

    @property
    def name(self) -> str:
        return self.tag


class SpecialCategory(Fact, frozen=True, kw_only=True):
    file: ClassVar[str] = "special_categories"

    jurisdiction: JurisdictionId
    tag: str
    age_limit: int | None

    @property
    def name(self) -> str:
        return f"{self.jurisdiction}: {self.tag}"


class Edge(Fact, frozen=True, kw_only=True):
    """`from` may send to `to` without further gateway. `to`: an id or `group:NAME`."""

    file: ClassVar[str] = "edges"
    permits: ClassVar[bool] = True

    origin: JurisdictionId
    """Column `from`."""
    to: str
    tags_only: tuple[str, ...]
    tags_except: tuple[str, ...]
    recipient_class: tuple[str, ...]
    to_except_countries: tuple[Country, ...]

    @property
    def name(self) -> str:
        return f"{self.origin} -> {self.to}"


class Gateway(Fact, frozen=True, kw_only=True):
    """One requirement. Same (origin, to, alternative): AND; different alternatives: OR. `to`: an id, `group:NAME` or `*`."""

    file: ClassVar[str] = "gateways"
    permits: ClassVar[bool] = True

    origin: JurisdictionId
    to: str
    alternative: int
    requirement: Requirement
    detail_tag: str | None
    tags_only: tuple[str, ...]
    tags_except: tuple[str, ...]
    recipient_class: tuple[str, ...]
    threshold_ids: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.origin} -> {self.to} #{self.alternative} {self.requirement}"


class Deny(Fact, frozen=True, kw_only=True):
    """A prohibition. `tag`: a tag or `*`; `threshold_id`: from that count on."""

    file: ClassVar[str] = "denies"

    origin: JurisdictionId
    to: str
    tag: str
    threshold_id: str | None
    purpose: str | None
    recipient_class: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.origin} -> {self.to} {self.tag}"


class Storage(Fact, frozen=True, kw_only=True):
    """Where data with `tag` (`*` = any) must stay. `region`: ids and `group:NAME`s, any of which will do."""

    file: ClassVar[str] = "storage"

    jurisdiction: JurisdictionId
    tag: str
    rule: StorageRule
    region: tuple[str, ...]
    key: Literal["residence", "citizenship", "operator", "place_of_collection"]
    verbs: tuple[DataVerb, ...]
    ttl_hours_abroad: int | None
    lifted_by: tuple[Requirement, ...]

    @property
    def name(self) -> str:
        return f"{self.jurisdiction}: {self.tag} {self.rule}"


class Threshold(Fact, frozen=True, kw_only=True):
    """A count of persons or devices, `min` ≤ n < `max` (None: no upper end), over a window of `months`."""

    file: ClassVar[str] = "thresholds"

    id: str
    jurisdiction: JurisdictionId
    tag: str
    unit: Literal["persons", "devices", "consumers"]
    min: int
    max: int | None
    window_kind: Literal["calendar_year", "rolling_months", "none"]
    months: int | None
    effect: Literal["exempt", "gateway_needed", "assessment", "bulk_covered", "notify"]

    @property
    def name(self) -> str:
        return self.id


class Obligation(Fact, frozen=True, kw_only=True):
    file: ClassVar[str] = "obligations"

    jurisdiction: JurisdictionId
    trigger: str
    action: str
    deadline: int
    unit: Unit
    relative_to: Literal["before", "after"]

    @property
    def name(self) -> str:
        return f"{self.jurisdiction}: {self.trigger} {self.action}"


class Unresolved(msgspec.Struct, frozen=True, kw_only=True):
    """What stayed prose, and why. It carries no date: it is open until a row is written."""

    file: ClassVar[str] = "unresolved"

    line: int
    fact_ref: tuple[str, ...]
    field: str
    text: str
    why: str

    @property
    def name(self) -> str:
        return f"{';'.join(self.fact_ref)} {self.field}"
