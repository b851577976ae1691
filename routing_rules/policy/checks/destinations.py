"""`[destinations.ID]`: where releases of egress may go, and which cells' people read there. Pure."""

from foundation.words import CellId
from routing_rules.hints import shown
from routing_rules.pack import Pack
from routing_rules.policy.checks.operator import recipient_classes
from routing_rules.policy.checks.words import check_country, check_purpose, check_subdivision
from routing_rules.policy.draft import Draft
from routing_rules.policy.key_lines import Path
from routing_rules.policy.mistakes import Mistakes
from routing_rules.policy.tables import Destination


def check_destinations(draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    classes = recipient_classes(pack)
    for name, one in draft.destinations.items():
        at: Path = ("destinations", name)
        if check_country(one.country, (*at, "country"), pack, mistakes):
            check_subdivision(one.subdivision, one.country, (*at, "subdivision"), mistakes)
        if not one.purposes:
            mistakes.add((*at, "purposes"), "is empty; a destination that nothing may go to is left out")
        for n, purpose in enumerate(one.purposes, start=1):
            check_purpose(purpose, (*at, "purposes", n), pack, mistakes)
        for n, stated in enumerate(one.recipient_classes or (), start=1):
            if stated not in classes:
                what = f"no class {shown(stated)} in the pack"
                mistakes.add_unknown((*at, "recipient_classes", n), what, stated, classes)
    _check_readers(draft, mistakes)


def _check_readers(draft: Draft, mistakes: Mistakes) -> None:
    """A cell's people read in one place: where its region is."""
    seen: dict[CellId, str] = {}
    for name, one in draft.destinations.items():
        for n, cell in enumerate(one.readers, start=1):
            at: Path = ("destinations", name, "readers", n)
            if cell not in draft.declared.cells:
                mistakes.add_unknown(at, f"no cell {shown(cell)}", cell, draft.declared.cells)
            elif cell in seen:
                mistakes.add(at, f"people of {cell} read at {seen[cell]} already")
            elif (where := _elsewhere(one, cell, draft)) is not None:
                mistakes.add(at, f"people of {cell} read where its region is: {where}")
            seen.setdefault(cell, name)


def _elsewhere(one: Destination, cell: CellId, draft: Draft) -> str | None:
    """The place of the cell's region where that is another than the destination's; None: the same, or not known."""
    stated = draft.cells.get(cell)
    region = None if stated is None else draft.regions.get(stated.region)
    if region is None or (region.country, region.subdivision) == (one.country, one.subdivision):
        return None
    return region.subdivision or region.country
