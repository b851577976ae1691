"""`[travellers]` and `[terms.ID]`: what becomes of people away from home, and what a tenant's contract adds. Pure."""

from typing import get_args

from routing_rules.hints import shown
from routing_rules.pack import Pack
from routing_rules.policy.checks.words import LIVED_UNDER
from routing_rules.policy.draft import Draft
from routing_rules.policy.key_lines import Path
from routing_rules.policy.mistakes import Mistakes
from routing_rules.policy.tables import Travel

WAYS: tuple[str, ...] = get_args(Travel)


def check_travellers(draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    homes = _homes(draft, pack)
    for key, way in draft.travellers.items():
        at: Path = ("travellers", key)
        if way not in WAYS:
            mistakes.add(at, f"is {shown(way)}; must be one of {', '.join(WAYS)}")
        home, arrow, ingress = key.partition("->")
        if key != "default" and home not in homes:
            mistakes.add_unknown(at, f"no cell serves {shown(home)}", home, homes | {"default"})
        elif arrow and ingress not in draft.declared.regions:
            mistakes.add_unknown(at, f"no region {shown(ingress)}", ingress, draft.declared.regions)


def _homes(draft: Draft, pack: Pack) -> frozenset[str]:
    """Every jurisdiction that some cell serves; serving a whole serves its subdivisions. While a cell is broken: any jurisdiction, so
    that its own mistake is not told twice."""
    served = frozenset(regime for cell in draft.cells.values() for regime in cell.serves)
    lived_under = [row for row in pack.jurisdictions if row.kind in LIVED_UNDER]
    if len(draft.cells) < len(draft.declared.cells) or not served <= {row.id for row in lived_under}:
        return frozenset(row.id for row in lived_under)
    return served.union(row.id for row in lived_under if row.parent in served)


def check_terms(draft: Draft, mistakes: Mistakes) -> None:
    for name, terms in draft.terms.items():
        if not terms.cells:
            mistakes.add(("terms", name, "cells"), "is empty; name the cells where subjects under these terms may live")
        for n, cell in enumerate(terms.cells, start=1):
            if cell not in draft.declared.cells:
                mistakes.add_unknown(("terms", name, "cells", n), f"no cell {shown(cell)}", cell, draft.declared.cells)
