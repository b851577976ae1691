"""Why a regime says neither yes nor no to a transfer: which of its rows would speak, and what keeps each from it."""

from collections.abc import Iterator, Sequence

from routing_rules.law.calendar import holds
from routing_rules.law.places import Atlas
from routing_rules.law.reasons import off_day
from routing_rules.law.tags import UNDECLARED, Sight
from routing_rules.law.transfer.rows import Alternative, Case, RegimeRows, Ways, proven, reaches
from routing_rules.law.truth import Truth
from routing_rules.pack.rows import Edge, Gateway


def why_open(
    own: RegimeRows, case: Case, sight: Sight, ways: Ways, uncovered: Sequence[str | None], atlas: Atlas
) -> Iterator[tuple[Edge | Gateway, str]]:
    """Each row that names the place, or may, and does not cover all that is uncovered: the row and why."""
    for edge in own.edges_towards(case.place):
        reach = reaches(edge, case, atlas)
        if reach is not Truth.NO:
            why = _why_closed(edge, case, reach) or _why_uncovered(edge, sight, uncovered)
            if why is not None:
                yield edge, why
    open_rows = {row.line for rows in (*ways.free, *ways.bound) for row in rows}
    for alternative in own.alternatives:
        yield from _why_not(alternative, case, sight, uncovered, atlas, open_rows)


def _why_not(
    alternative: Alternative,
    case: Case,
    sight: Sight,
    uncovered: Sequence[str | None],
    atlas: Atlas,
    open_rows: set[int],
) -> Iterator[tuple[Gateway, str]]:
    reach = atlas.matches(alternative.to, case.place, case.at)
    if reach is Truth.NO:
        return
    for row in alternative.rows:
        why = _why_closed(row, case, reach)
        if why is None and row.line not in open_rows and row.threshold_ids:
            why = f"the counts for {' and '.join(row.threshold_ids)} are not declared, or lie outside"
        why = why or _why_uncovered(row, sight, uncovered)
        if why is None and UNDECLARED in uncovered and row.requirement != "none":
            why = "operator.sectors are not declared, and no instrument on file covers * for what they may be"
        if why is not None:
            yield row, why
            return


def _why_closed(row: Edge | Gateway, case: Case, reach: Truth) -> str | None:
    if not holds(row, case.at):
        return off_day(row, case.at)
    if reach is Truth.UNKNOWN:
        return "whether it names that destination is not known"
    if not proven(row, case):
        return f"only for recipients proven to be {' or '.join(row.recipient_class)}"
    return None


def _why_uncovered(row: Edge | Gateway, sight: Sight, uncovered: Sequence[str | None]) -> str | None:
    for item in uncovered:
        if not sight.covers(row, item):
            return f"does not cover {'the data as such' if item is None else item}"
    return None
