"""What of a regime's open ways covers an item, and what evidence is missing where none does.

docs/evaluation.md, section 4, points 4 to 6.
"""

from collections.abc import Sequence

import msgspec

from routing_rules.law.evidence import Held, evidence
from routing_rules.law.tags import Sight
from routing_rules.law.transfer.rows import Ways
from routing_rules.pack.rows import Edge, Gateway
from routing_rules.policy import Instrument


class Cover(msgspec.Struct, frozen=True):
    """What covers an item (None: the data as such): an edge, or all rows of an alternative, each with the instrument that shows it."""

    item: str | None
    edge: Edge | None = None
    gateways: tuple[tuple[Gateway, Instrument | None], ...] = ()

    @property
    def needs_evidence(self) -> bool:
        return any(shown is not None for _, shown in self.gateways)


class Missing(msgspec.Struct, frozen=True):
    """What an alternative lacks: its first row without evidence, every requirement without, and the tags that it would have to cover."""

    row: Gateway
    requirements: tuple[str, ...]
    tags: tuple[str, ...]


def covering(ways: Ways, item: str | None, sight: Sight, on_file: Sequence[Held]) -> Cover | None:
    """The first edge that covers the item, else the first alternative that asks for nothing, else the first that is satisfied."""
    for edge in ways.edges:
        if sight.covers(edge, item):
            return Cover(item, edge)
    for rows in ways.free:
        if sight.all_cover(rows, item):
            return Cover(item, gateways=tuple((row, None) for row in rows))
    for rows in ways.bound:
        if sight.all_cover(rows, item):
            shown = _shown(rows, item, on_file)
            if shown is not None:
                return Cover(item, gateways=shown)
    return None


def _shown(
    rows: Sequence[Gateway], item: str | None, on_file: Sequence[Held]
) -> tuple[tuple[Gateway, Instrument | None], ...] | None:
    """Each row with its evidence for the item; None if one lacks it."""
    found: list[tuple[Gateway, Instrument | None]] = []
    for row in rows:
        asked = row.requirement != "none"
        one = evidence(row.requirement, row.detail_tag, item, on_file) if asked else None
        if asked and one is None:
            return None
        found.append((row, one))
    return tuple(found)


def lacking(
    ways: Ways, uncovered: Sequence[str | None], sight: Sight, on_file: Sequence[Held]
) -> tuple[Missing, ...] | None:
    """What each alternative that would do for uncovered items lacks. None if for an item there is none, or nothing is uncovered."""
    would_do = {item: [rows for rows in ways.bound if sight.all_cover(rows, item)] for item in uncovered}
    if not would_do or not all(would_do.values()):
        return None
    found: list[Missing] = []
    for rows in ways.bound:
        items = [item for item in uncovered if rows in would_do[item]]
        missing = [row for row in rows if any(_lacks(row, item, on_file) for item in items)]
        if missing:
            requirements = tuple(dict.fromkeys(row.requirement for row in missing))
            found.append(Missing(missing[0], requirements, tuple(item for item in items if item is not None)))
    return tuple(found)


def _lacks(row: Gateway, item: str | None, on_file: Sequence[Held]) -> bool:
    return row.requirement != "none" and evidence(row.requirement, row.detail_tag, item, on_file) is None
