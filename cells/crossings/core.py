"""A crossing as a value, what makes one bookable here, and the order of a subject's records. Pure.

A crossing holds ids and metadata only: no address, nothing of the request but service, verb and purpose.
"""

import enum
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from directory import paging
from foundation.clock import SKEW_S_MAX
from foundation.decision_header import LIFETIME_S_MAX
from foundation.ledger.port import Event, Kind
from foundation.problems import Code, Problem, refuse
from foundation.words import ActorId, CellId, Country, RegionId, RulesDigest, ServiceId, SubjectId, Verb
from routing_rules.policy import Policy

AGE_S_MAX = LIFETIME_S_MAX + SKEW_S_MAX
"""How old a crossing may be when it is booked: as old as the decision under which it would be carried."""
EVENT_PREFIX = "crossing:"
"""What ids of booked crossings begin with in the outbox. Events that gateways hand over may not."""

_TEXT = r"^[^\x00-\x1f\x7f]+$(?!\n)"
_COUNTRY = Meta(pattern=r"^[A-Z]{2}$(?!\n)")
_SLUG = Meta(max_length=40, pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$(?!\n)")


class CrossingKind(enum.StrEnum):
    """`hairpin`: a request carried home from another region's gateway. `egress`: a release out of the cell."""

    HAIRPIN = "hairpin"
    EGRESS = "egress"


class Crossing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request or release that crosses a border. `id` is unique: booking it twice books it once.

    `at`: unix seconds at the gateway, to the microsecond. `ground` and `basis`: of the verdict; `rules`: what it was decided under.
    """

    id: Annotated[str, Meta(min_length=16, max_length=64, pattern=r"^[A-Za-z0-9_-]+$(?!\n)")]
    at: Annotated[float, Meta(gt=0, lt=1e11)]
    subject_id: Annotated[SubjectId, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$(?!\n)")]
    kind: CrossingKind
    from_region: Annotated[RegionId, _SLUG]
    from_country: Annotated[Country, _COUNTRY]
    home_cell: Annotated[CellId, _SLUG]
    service: Annotated[ServiceId, _SLUG]
    verb: Verb
    purpose: Annotated[str, Meta(max_length=64, pattern=_TEXT)]
    ground: Annotated[str, Meta(max_length=1000, pattern=_TEXT)]
    basis: Annotated[str, Meta(max_length=1000, pattern=_TEXT)]
    rules: Annotated[RulesDigest, Meta(pattern=r"^sha256:[0-9a-f]{64}$(?!\n)")]
    observed_country: Annotated[Country, _COUNTRY] | None = None
    trace_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]

    def __post_init__(self) -> None:
        # As finely as a database keeps it, so that what comes back equals what was given.
        msgspec.structs.force_setattr(self, "at", self.at_us / 1_000_000)

    @property
    def at_us(self) -> int:
        return round(self.at * 1_000_000)


def problem_of(crossing: Crossing, *, cell: CellId, policy: Policy, now_s: float) -> Problem | None:
    """None when a gateway of this cell's region may have it booked here, as far as policy and clock tell."""
    if crossing.kind is not CrossingKind.HAIRPIN:
        return Problem(code=Code.BAD_REQUEST, detail="gateways book hairpins only")
    if crossing.verb is Verb.SIGNUP:
        return Problem(code=Code.BAD_REQUEST, detail="a sign-up is not carried from another region")
    if not now_s - AGE_S_MAX <= crossing.at <= now_s + SKEW_S_MAX:
        return Problem(code=Code.BAD_REQUEST, detail=f"a crossing is booked within {AGE_S_MAX:.0f} s of its time")
    if crossing.home_cell != cell:
        return Problem(code=Code.CONFLICT, detail="the crossing names another home cell")
    declared, own = policy.regions.get(crossing.from_region), policy.cells.get(cell)
    if declared is None or own is None or crossing.from_region == own.region:
        return Problem(code=Code.CONFLICT, detail="the crossing comes from no other region that policy declares")
    if declared.country != crossing.from_country:
        return Problem(code=Code.CONFLICT, detail="policy has another country for the region that the crossing names")
    return None


def event_of(crossing: Crossing, booked_by: ActorId) -> Event:
    """The crossing as the ledger has it."""
    fields = msgspec.to_builtins(crossing)
    details = {name: value for name, value in fields.items() if name not in ("id", "at", "subject_id")}
    return Event(
        id=EVENT_PREFIX + crossing.id,
        at=crossing.at,
        kind=Kind.CROSSING,
        actor=booked_by,
        subject_id=crossing.subject_id,
        details=details,
    )


class Source(enum.IntEnum):
    """Where a record of a subject lies: events that gateways handed over, or booked crossings."""

    EVENTS = 0
    CROSSINGS = 1


class Place(NamedTuple):
    """A record's place in the order of a subject's records; the newest is the greatest."""

    at_us: int
    source: Source
    position: int

    def bound_in(self, source: Source) -> tuple[int, int]:
        """(at_us, position) that every record of `source` before this place lies under."""
        if source == self.source:
            return self.at_us, self.position
        return self.at_us, POSITION_MAX if source < self.source else 0


POSITION_MAX = 2**63 - 1
AT_US_MAX = 10**17
NEWEST = Place(AT_US_MAX, Source.CROSSINGS, POSITION_MAX)
"""Above every record."""


class Recorded(NamedTuple):
    """One record of a subject and where it stands in the order."""

    place: Place
    event: Event


def page(found: list[Recorded], limit: int) -> tuple[list[Event], str | None]:
    """The newest `limit` of what the sources gave (each at least `limit` + 1 where it has them), and the cursor to go on from."""
    ordered = sorted(found, key=lambda one: one.place, reverse=True)
    shown = ordered[:limit]
    more = len(ordered) > limit
    return [one.event for one in shown], cursor_of(shown[-1].place) if more else None


def cursor_of(place: Place) -> str:
    return paging.encode("record", f"{place.at_us}.{int(place.source)}.{place.position}")


def place_of(cursor: str | None) -> Place:
    """Above everything without a cursor. Raises ProblemError for a text that `cursor_of` did not make."""
    value = paging.decode("record", cursor)
    if value is None:
        return NEWEST
    parts = value.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 19 for part in parts):
        raise _malformed()
    at_us, source, position = (int(part) for part in parts)
    if at_us > AT_US_MAX or source not in tuple(Source) or position > POSITION_MAX:
        raise _malformed()
    return Place(at_us, Source(source), position)


def _malformed() -> Exception:
    return refuse(Code.BAD_REQUEST, "the cursor is not one that this call gave out; begin without one")
