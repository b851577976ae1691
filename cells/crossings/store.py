"""SQL on a shard's `domicile.crossing`, and on what gateways handed over about a subject. Role domicile_cell.

Booking takes the share lock on the subject's fence row, as every write does: after a cut has returned no crossing booked under the
home before it can appear here. A cut in progress is not waited for.
"""

import datetime
import enum
import json
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import asyncpg

from cells.crossings.core import Crossing, CrossingKind, Place, Recorded, Source, event_of
from cells.shards.store import OUTBOX, session
from directory.placement.core import State, refusal
from foundation.ledger.port import Event, Kind
from foundation.postgres import Pool
from foundation.words import ActorId, CellId, Country, RegionId, RulesDigest, ServiceId, SubjectId, Verb

# purpose: book crossings of subjects whose fence stands here and allows the verb; one that is booked already is left as it is.
# The lock is taken in the order of subjects, the rows in the order of ids, so that two of these never wait for each other.
BOOK = """
WITH given AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                       $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[])
    WITH ORDINALITY AS g (id, at, subject_id, kind, from_region, from_country, home_cell, service, verb, purpose, ground, basis, rules,
                          observed_country, trace_id, booked_by, n)),
h AS MATERIALIZED (
  SELECT f.subject_id, f.state FROM domicile.home AS f
  WHERE f.subject_id = ANY($3::uuid[])
    AND NOT EXISTS (SELECT 1 FROM domicile.closing AS c WHERE c.subject_id = f.subject_id)
  ORDER BY f.subject_id FOR SHARE OF f SKIP LOCKED),
booked AS (
  INSERT INTO domicile.crossing (id, at, subject_id, kind, from_region, from_country, home_cell, service, verb, purpose, ground, basis,
                                 rules, observed_country, trace_id, booked_by)
  SELECT g.id, g.at, g.subject_id, g.kind, g.from_region, g.from_country, g.home_cell, g.service, g.verb, g.purpose, g.ground, g.basis,
         g.rules, g.observed_country, g.trace_id, g.booked_by
  FROM given AS g JOIN h ON h.subject_id = g.subject_id
  WHERE h.state = ANY(CASE g.verb WHEN 'read' THEN $17::text[] WHEN 'write' THEN $18::text[] END)
  ORDER BY g.id, g.n
  ON CONFLICT (id) DO NOTHING
  RETURNING id)
SELECT g.id, h.state, EXISTS (SELECT 1 FROM booked AS b WHERE b.id = g.id) AS booked
FROM given AS g LEFT JOIN h ON h.subject_id = g.subject_id ORDER BY g.n
"""

_COLUMNS = """id, at, subject_id::text AS subject_id, kind, from_region, from_country, home_cell, service, verb, purpose, ground, basis,
  rules, observed_country, trace_id, booked_by, position"""

# purpose: crossings by id
STORED = f"""
SELECT {_COLUMNS} FROM domicile.crossing WHERE id = ANY($1::text[])
"""  # noqa: S608 - the columns above

# purpose: a subject's crossings under a place, newest first
CROSSINGS_UNDER = f"""
SELECT {_COLUMNS} FROM domicile.crossing
WHERE subject_id = $1::uuid AND (at, position) < ($2::timestamptz, $3::bigint)
ORDER BY at DESC, position DESC LIMIT $4
"""  # noqa: S608 - the columns above

# purpose: what gateways handed over about a subject under a place, newest first
EVENTS_UNDER = """
SELECT id, at, kind, actor, subject_id::text AS subject_id, details::text AS details, position FROM domicile.outbox
WHERE subject_id = $1::uuid AND kind IN ('crossing', 'refusal') AND id NOT LIKE 'crossing:%'
  AND (at, position) < ($2::timestamptz, $3::bigint)
ORDER BY at DESC, position DESC LIMIT $4
"""

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_ALLOWING = {verb: [state.value for state in State if refusal(state, verb) is None] for verb in (Verb.READ, Verb.WRITE)}


class Booking(NamedTuple):
    """A crossing and the credential that has it booked."""

    crossing: Crossing
    booked_by: ActorId


class Booked(enum.Enum):
    """What became of a booking, besides a state that does not let it in."""

    DURABLE = "durable"
    OTHER = "the id is another crossing's"
    NO_FENCE = "no fence stands here, or it is just being raised"


Outcome: TypeAlias = Booked | State


async def book(pool: Pool, bookings: Sequence[Booking]) -> list[Outcome]:
    """Books them in one transaction with their events of the outbox; durable on return. Raises asyncpg errors, OSError.

    One outcome for each, in their order. A crossing that stands there already as given counts as booked.
    """
    async with session(pool) as connection, connection.transaction():
        tried = await connection.fetch(BOOK, *_arrays(bookings), _ALLOWING[Verb.READ], _ALLOWING[Verb.WRITE])
        # Asked in a statement of its own: one that waited for another transaction's row does not see it.
        rows = {row["id"]: row for row in await connection.fetch(STORED, [row["id"] for row in tried])}
        stored = {name: Booking(_crossing(row), ActorId(row["booked_by"])) for name, row in rows.items()}
        new = sorted({row["id"] for row in tried if row["booked"]})
        await OUTBOX.append_many(connection, [event_of(*stored[name]) for name in new])
    return [_outcome(one, stored.get(one.crossing.id), row["state"]) for one, row in zip(bookings, tried, strict=True)]


def _outcome(asked: Booking, stored: Booking | None, state: str | None) -> Outcome:
    if stored is not None:
        return Booked.DURABLE if stored.crossing == asked.crossing else Booked.OTHER
    return Booked.NO_FENCE if state is None else State(state)


async def crossings(pool: Pool, subject: SubjectId, under: Place, limit: int) -> list[Recorded]:
    """The subject's newest booked crossings under a place. Raises asyncpg errors, OSError."""
    rows = await _under(pool, CROSSINGS_UNDER, Source.CROSSINGS, subject, under, limit)
    return [
        Recorded(
            Place(_us(row["at"]), Source.CROSSINGS, row["position"]),
            event_of(_crossing(row), ActorId(row["booked_by"])),
        )
        for row in rows
    ]


async def events(pool: Pool, subject: SubjectId, under: Place, limit: int) -> list[Recorded]:
    """The subject's newest events from gateways under a place. Raises asyncpg errors, OSError."""
    rows = await _under(pool, EVENTS_UNDER, Source.EVENTS, subject, under, limit)
    return [Recorded(Place(_us(row["at"]), Source.EVENTS, row["position"]), _event(row)) for row in rows]


async def _under(
    pool: Pool, sql: str, source: Source, subject: SubjectId, under: Place, limit: int
) -> list[asyncpg.Record]:
    at_us, position = under.bound_in(source)
    async with session(pool) as connection:
        return list(await connection.fetch(sql, subject, _at(at_us), position, limit))


def _arrays(bookings: Sequence[Booking]) -> list[list[Any]]:
    """The columns of BOOK's first sixteen parameters."""
    rows = [
        (
            one.id,
            _at(one.at_us),
            one.subject_id,
            one.kind.value,
            one.from_region,
            one.from_country,
            one.home_cell,
            one.service,
            one.verb.value,
            one.purpose,
            one.ground,
            one.basis,
            one.rules,
            one.observed_country,
            one.trace_id,
            booked_by,
        )
        for one, booked_by in bookings
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def _crossing(row: asyncpg.Record) -> Crossing:
    return Crossing(
        id=row["id"],
        at=_us(row["at"]) / 1_000_000,
        subject_id=SubjectId(row["subject_id"]),
        kind=CrossingKind(row["kind"]),
        from_region=RegionId(row["from_region"]),
        from_country=Country(row["from_country"]),
        home_cell=CellId(row["home_cell"]),
        service=ServiceId(row["service"]),
        verb=Verb(row["verb"]),
        purpose=row["purpose"],
        ground=row["ground"],
        basis=row["basis"],
        rules=RulesDigest(row["rules"]),
        observed_country=None if row["observed_country"] is None else Country(row["observed_country"]),
        trace_id=row["trace_id"],
    )


def _event(row: asyncpg.Record) -> Event:
    return Event(
        id=row["id"],
        at=_us(row["at"]) / 1_000_000,
        kind=Kind(row["kind"]),
        actor=row["actor"],
        subject_id=row["subject_id"],
        details=json.loads(row["details"]),
    )


def _us(at: datetime.datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _at(at_us: int) -> datetime.datetime:
    return _EPOCH + at_us * _MICROSECOND
