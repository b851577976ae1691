"""The tables of policy.toml as values. What every key means stands in docs/policy.md."""

import datetime
from typing import Literal
from urllib.parse import unquote

import msgspec

from foundation.words import CellId, Country, DestinationId, JurisdictionId, RegionId, ServiceId, ShardId, Verb

DECISION_S_MAX = 30.0
"""Upper bound of `decision_s`: a decision header lives no longer (`foundation.decision_header`)."""
STALE_S_MIN = 5.0
"""Lower bound of `stale_s_max`: a quiet feed is confirmed every two seconds, as of two seconds before; below this the known would be
refused while the directory is well."""
STALE_S_MAX = 86_400.0
"""Upper bound of `stale_s_max`: nobody serves from knowledge older than a day."""
WEIGHT_MAX = 1e6
POLICY_BYTES_MAX = 1 << 20
REF_CHARS_MAX = 200
"""Upper bound of an instrument's `ref`; it stands in grounds and records."""

Profile = Literal["cautious", "common"]


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """`placement_key`: what of a token leads to a subject. `stale_s_max`: seconds a cut-off process serves from what it knows.
    `decision_s`: seconds a decision header lives. `citizenship`: what holds of a person who declared none: unknown until asked, or that
    of the country of residence. `session_cookie`: the cookie in which browsers may keep the person's token, None: only `Authorization`
    counts."""

    placement_key: str = "iss+sub"
    profile: Profile = "cautious"
    citizenship: Literal["asked", "residence"] = "asked"
    stale_s_max: float = 600.0
    decision_s: float = 15.0
    session_cookie: str | None = None


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """A place with gateways. `origin` is their public URL without a path; `subdivision` the part of the country (ISO 3166-2, `US-VA`)."""

    country: Country
    origin: str
    subdivision: str | None = None


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One Postgres database. `dsn_env` is the stem of the environment variables that hold its DSNs; `weight` its share of subjects."""

    dsn_env: str
    country: Country
    subdivision: str | None = None
    weight: float = 1.0


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """All that serves some subjects inside one jurisdiction. `serves`: the regimes whose subjects the operator may keep here.

    `copies`: countries where the operator itself keeps a full copy of these rows; some laws ask for one.
    """

    region: RegionId
    jurisdiction: JurisdictionId
    serves: tuple[JurisdictionId, ...]
    shards: dict[ShardId, Shard]
    weight: float = 1.0
    copies: tuple[Country, ...] = ()


class Jobs(msgspec.Struct, frozen=True, kw_only=True):
    """What background jobs of a service may get decisions for."""

    verbs: tuple[Verb, ...]
    purpose: str


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A product service behind the gateways. `hosts` states for each cell its addresses (`host:port`); none means: not in that cell.

    `anonymous` and `signup` are exact paths that start with `/<service>/`.
    """

    purpose: str
    tags: tuple[str, ...] = ()
    anonymous: tuple[str, ...] = ()
    signup: tuple[str, ...] = ()
    hosts: dict[CellId, tuple[str, ...]]
    jobs: Jobs | None = None


class Directory(msgspec.Struct, frozen=True, kw_only=True):
    """Where the directory runs: its rows are personal data too, pseudonymous."""

    country: Country


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about the operator that some laws ask for. A fact that is not stated is unknown; an empty list says that there is none.

    `sectors`: tags of kind sector, operator or volume that hold of all its data. `overlays`: jurisdictions of kind overlay that it is
    registered in. `counts`: `<jurisdiction>/<tag>` -> persons or devices over the window that the pack's threshold names.
    """

    country: Country | None = None
    sectors: tuple[str, ...] | None = None
    recipient_classes: tuple[str, ...] | None = None
    overlays: tuple[JurisdictionId, ...] | None = None
    counts: dict[str, int] = {}


class Instrument(msgspec.Struct, frozen=True, kw_only=True, rename={"origin": "from"}):
    """The operator's recorded ground for a transfer: evidence for the requirement `gateway` of `from` towards `to` (an id or `*`).

    It covers the data as such, and the sensitive data that `tags` names (`*`: all). `detail`: which kind of that gateway, where stated.
    """

    origin: JurisdictionId
    to: str
    gateway: str
    ref: str
    detail: str | None = None
    tags: tuple[str, ...] = ()
    since: datetime.date
    until: datetime.date


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """A service that acts for subjects (`Domicile-For`): from where, through which services, for whose subjects, with which verbs."""

    country: Country
    subdivision: str | None = None
    services: tuple[ServiceId, ...]
    jurisdictions: tuple[JurisdictionId, ...]
    verbs: tuple[Verb, ...]


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """Where releases of egress go: the place, the only purposes they may go there for, what is proven of whoever receives them (None:
    nothing is known), and the URLs below which it takes them. `readers`: cells whose people read there what others show."""

    country: Country
    subdivision: str | None = None
    purposes: tuple[str, ...]
    recipient_classes: tuple[str, ...] | None = None
    sinks: tuple[str, ...] = ()
    readers: tuple[CellId, ...] = ()

    def takes(self, url: str) -> bool:
        """Whether the URL is one of its sinks, or lies below one."""
        if ".." in unquote(url).split("/") or any(sign in url for sign in "?#\\"):
            return False
        return any(f"{url}/".startswith(f"{sink.rstrip('/')}/") for sink in self.sinks)


Travel = Literal["hairpin", "home", "refuse"]
"""What becomes of a person away from home: carried home by the gateways, sent home, or refused."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant's contract adds to the law: the cells where its subjects may live, and what becomes of them away from home."""

    cells: tuple[CellId, ...]
    travellers: Travel | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of policy.toml, checked (`routing_rules.policy.reading`).

    `travellers`: `default`, a home jurisdiction, or `<home jurisdiction>-><ingress region>` -> what becomes of them; the last wins.
    """

    product: Product
    regions: dict[RegionId, Region]
    directory: Directory
    cells: dict[CellId, Cell]
    services: dict[ServiceId, Service]
    operator: Operator = Operator()
    actors: dict[ServiceId, Actor] = {}
    instruments: tuple[Instrument, ...] = ()
    travellers: dict[str, Travel] = {}
    terms: dict[str, Terms] = {}
    destinations: dict[DestinationId, Destination] = {}
