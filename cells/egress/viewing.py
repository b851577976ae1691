"""What a person shows to another, as values: the statement that reads it, who asked, what went, what is on record of that. Pure."""

import hashlib
from typing import Any

import msgspec

from cells.crossings.core import Crossing, CrossingKind
from cells.egress.manifest import EVENT_PREFIX
from cells.egress.plan import Release, TablePlan
from cells.egress.treating import Treated
from cells.records.contracts import Contract
from cells.shards.core import Home
from directory.placement.core import State
from foundation.ledger.port import Event, Kind
from foundation.words import VIEWS, CellId, Epoch, RegionId, RulesDigest, SubjectId, Verb
from routing_rules.policy import Region

ROWS_MAX = 200
REFUSAL_PREFIX = "view:"
"""What ids of refusals begin with in the outbox. Events that gateways hand over may not."""
FENCE_COLUMNS = 4
"""Columns of `statement` before the contract's public ones: epoch, state, closing, present."""
_GROUND_CHARS_MAX = 1_000


class ViewAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`rows`: at most 200 of the person's, by their id, with the contract's public columns; null where a value stays. `more`: whether there
    are others."""

    table: str
    rows: list[dict[str, Any]]
    more: bool


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for whose rows of what, as decided. `cell`: the reader's. `home`: where the rows are here."""

    contract: Contract
    cell: CellId
    subject: SubjectId
    epoch: Epoch
    home: Home
    release: Release
    trace_id: str


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """What goes, and under which plan."""

    plan: TablePlan
    treated: Treated
    more: bool

    @property
    def refused(self) -> str | None:
        """Why nothing goes, None where something does, be it that there are no rows."""
        if self.treated.held:
            return "held back: " + ", ".join(f"{one.kind} in {one.field}" for one in self.treated.held)
        if not self.plan.goes:
            return self.plan.ground if not self.plan.answer.allows else "no field of it leaves"
        return None

    @property
    def rows(self) -> list[dict[str, Any]]:
        names = list(self.treated.columns)
        rows = zip(*self.treated.columns.values(), strict=True) if self.treated.rows else ()
        return [dict(zip(names, row, strict=True)) for row in rows]


def statement(contract: Contract) -> str:
    """The fence of one subject and, in its snapshot, some of their rows: public columns alone."""
    listed = "".join(f', t."{name}"' for name in contract.public)
    # purpose: what a person shows, with their fence; one row without values where there are none
    return (
        "SELECT f.epoch, f.state, EXISTS (SELECT 1 FROM domicile.closing AS c WHERE c.subject_id = f.subject_id) AS closing, "  # noqa: S608
        f't."id" IS NOT NULL AS present{listed} '
        f'FROM domicile.home AS f LEFT JOIN live."{contract.table}" AS t ON t."{contract.placed_by}" = f.subject_id '
        'WHERE f.subject_id = $1::uuid ORDER BY t."id" LIMIT $2'
    )


def fits(row: Any, epoch: Epoch) -> bool:
    """Whether the fence of a row of `statement` stands as decided, active and not just being raised. By place: a product's column may have
    any name."""
    return (row[0], row[1], row[2]) == (epoch, State.ACTIVE.value, False)


def shown(contract: Contract) -> Contract:
    """The contract of what is shown: its public columns, and no other."""
    return msgspec.structs.replace(contract, columns={name: contract.columns[name] for name in contract.public})


def crossing_of(
    asked: Asked, left: Leaving, to: tuple[RegionId, Region], rules: RulesDigest, view_id: str, at: float
) -> Crossing:
    """`to`: the reader's region. `basis`: everything that the law lets it rest on."""
    region, stated = to
    ground = f"{asked.contract.table} is shown at {asked.release.destination}: {left.plan.ground}"
    return Crossing(
        id=view_id,
        at=at,
        subject_id=asked.subject,
        kind=CrossingKind.EGRESS,
        from_region=region,
        from_country=stated.country,
        home_cell=asked.release.cell,
        service=VIEWS,
        verb=Verb.READ,
        purpose=asked.release.purpose,
        ground=ground[:_GROUND_CHARS_MAX],
        basis="; ".join(left.plan.reasons)[:_GROUND_CHARS_MAX] or left.plan.ground,
        rules=rules,
        trace_id=asked.trace_id,
    )


def release_of(asked: Asked, left: Leaving, rules: RulesDigest, view_id: str, at: float) -> Event:
    """What went, by its digest. The reader is named by their cell: their id does not lie abroad, the trace leads to it there."""
    details = {
        **_details(asked, rules),
        "rows": left.treated.rows,
        "payload": f"sha256:{hashlib.sha256(msgspec.json.encode(left.rows)).hexdigest()}",
    }
    return _event(EVENT_PREFIX + view_id, Kind.RELEASE, asked, details, at)


def refusal_of(asked: Asked, ground: str, rules: RulesDigest, view_id: str, at: float) -> Event:
    """Why nothing went."""
    details = {**_details(asked, rules), "ground": ground[:_GROUND_CHARS_MAX]}
    return _event(REFUSAL_PREFIX + view_id, Kind.REFUSAL, asked, details, at)


def _details(asked: Asked, rules: RulesDigest) -> dict[str, Any]:
    return {
        "service": VIEWS,
        "contract": asked.contract.table,
        "destination": asked.release.destination,
        "purpose": asked.release.purpose,
        "rules": rules,
        "trace_id": asked.trace_id,
    }


def _event(event_id: str, kind: Kind, asked: Asked, details: dict[str, Any], at: float) -> Event:
    return Event(id=event_id, at=at, kind=kind, actor=f"cell:{asked.cell}", subject_id=asked.subject, details=details)
