"""What a release says of itself: the manifest's document, and the report to the table's owner, from the parts of its journal. Pure."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from cells.egress import manifest
from cells.egress.runs import Part, Run
from cells.egress.treating import Treater
from foundation.ledger.port import Event, Kind
from routing_rules.rules import Rules


def report(parts: Sequence[Part]) -> dict[str, Any]:
    """What the table's owner is told: what stayed and why, what could not be made, batches in quarantine by their keys."""
    return {
        "read": sum(part.read for part in parts),
        "rows": sum(part.rows for part in parts),
        "stayed": _summed(part.stayed for part in parts),
        "fields": _fates(parts),
        "unmade": {name: why for part in parts for name, why in part.unmade.items()},
        "held": [one for part in parts for one in part.held],
    }


def document_of(
    stated: Run, parts: Sequence[Part], treater: Treater, rules: Rules, now: float, number: int
) -> dict[str, Any]:
    """`number`: which sealing of the run it is; each is recorded under an event of its own."""
    files = [part.file for part in parts if part.file is not None]
    to = rules.policy.destinations[stated.destination]
    treatments: dict[str, dict[str, bool]] = {}
    for part in parts:
        for name, own in part.treatments.items():
            treatments.setdefault(name, {}).update(own)
    held = [{"rows": one.rows, "found": one.found} for part in parts for one in part.held]
    return {
        "format": manifest.FORMAT,
        "id": stated.id,
        "cell": stated.cell,
        "table": stated.table,
        "destination": {"id": stated.destination, "country": to.country, "subdivision": to.subdivision},
        "purpose": stated.purpose,
        "begun_at": _utc(stated.begun_at),
        "sealed_at": _utc(now),
        "contract": stated.contract,
        "rules": stated.rules,
        "keys": stated.keys,
        "ground": sorted({ground for part in parts for ground in part.grounds}),
        "duties": sorted({duty for part in parts for duty in part.duties}),
        "rows": {"released": sum(part.rows for part in parts), "stayed": _summed(part.stayed for part in parts)},
        "held": held,
        "fields": [
            {
                "name": name,
                "kind": kind.value,
                "treatments": sorted(treatments.get(name, {})),
                "masking": any(treatments.get(name, {}).values()),
            }
            for name, kind in treater.schema
        ],
        "counts": _fates(parts),
        "scanned": treater.scans,
        "lineage": manifest.lineage(f"domicile://{stated.cell}", stated.table, treatments),
        "payload": {
            "format": stated.format.value,
            "sha256": manifest.payload_digest(files),
            "parts": [msgspec.to_builtins(one) for one in files],
        },
        "event": manifest.EVENT_PREFIX + stated.id + ("" if number == 1 else f".{number}"),
    }


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            found[name] = found.get(name, 0) + count
    return dict(sorted(found.items()))


def _fates(parts: Sequence[Part]) -> dict[str, dict[str, int]]:
    fields = sorted({field for part in parts for field in part.counts})
    return {field: _summed(part.counts.get(field, {}) for part in parts) for field in fields}


def _utc(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def event_of(stated: Run, raw: bytes, actor: str) -> Event:
    document = msgspec.json.decode(raw)
    return Event(
        id=document["event"],
        at=stated.begun_at,
        kind=Kind.RELEASE,
        actor=actor,
        details={
            "manifest": manifest.digest(raw),
            "payload": document["payload"]["sha256"],
            "table": stated.table,
            "destination": stated.destination,
            "purpose": stated.purpose,
            "rows": document["rows"]["released"],
            "contract": stated.contract,
            "rules": stated.rules,
        },
    )
