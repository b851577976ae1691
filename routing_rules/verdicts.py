"""Decision out: what `decide` and `place` answer. Every answer names its ground, the rules it rests on, and until when it holds."""

import datetime
from typing import TypeAlias

import msgspec

from foundation.problems import Code
from foundation.words import CellId, JurisdictionId, RegionId, RulesDigest
from routing_rules.law.questions import Lack


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`ground`: why, in a clause without personal data. `valid_until`: holds on days before it (None: as long as the rules)."""

    ground: str
    valid_until: datetime.date | None
    digest: RulesDigest


class Serve(_Answer, frozen=True, kw_only=True):
    """Forward to `cell`, which is of the ingress region, for `purpose`."""

    cell: CellId
    region: RegionId
    purpose: str


class Hairpin(_Answer, frozen=True, kw_only=True):
    """Away from home: the ingress region's gateway carries the request to those of `region` (at `home`), which decide it again, have
    `cell` book the crossing, and forward it to `cell` for `purpose`. `basis`: what the law lets this rest on, for the record."""

    cell: CellId
    region: RegionId
    home: str
    purpose: str
    basis: str


class Elsewhere(_Answer, frozen=True, kw_only=True):
    """The person is to go to the gateways of their home `region` themselves, at the origin `home`."""

    home: str
    region: RegionId


class Refuse(_Answer, frozen=True, kw_only=True):
    """Not allowed, or not known to be. `detail` says what to do."""

    code: Code
    detail: str


Verdict: TypeAlias = Serve | Hairpin | Elsewhere | Refuse


class Allowed(_Answer, frozen=True, kw_only=True):
    """The regimes that the subject is under, and the cells that may hold it (sorted, at least one).

    `questions`: what does not decide but should be asked, such as `residence_observed_elsewhere`.
    """

    regimes: tuple[JurisdictionId, ...]
    cells: tuple[CellId, ...]
    questions: tuple[str, ...] = ()


class NoCell(_Answer, frozen=True, kw_only=True):
    """No cell may, or none is known to. `lacks`: instruments that would allow one, each with the cell that it would open."""

    code: Code
    detail: str
    lacks: tuple[tuple[CellId, Lack], ...] = ()
