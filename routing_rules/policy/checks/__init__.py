"""What a policy of the right shape must still hold to: names that exist, endpoints in the right country, routes, bounds. Pure.

One module per part of the text. Checks look at whatever is well-formed, so that one broken entry does not hide the mistakes of the
others; references are looked up among all declared names, those of broken entries too.
"""

from foundation.words import MalformedWord, parse_slug
from routing_rules.pack import Pack
from routing_rules.policy.checks.actors import check_actors
from routing_rules.policy.checks.cells import check_cells
from routing_rules.policy.checks.destinations import check_destinations
from routing_rules.policy.checks.instruments import check_instruments
from routing_rules.policy.checks.operator import check_operator
from routing_rules.policy.checks.product import check_directory, check_product, check_regions
from routing_rules.policy.checks.services import check_services
from routing_rules.policy.checks.travel import check_terms, check_travellers
from routing_rules.policy.draft import Draft
from routing_rules.policy.key_lines import Path
from routing_rules.policy.mistakes import Mistakes

RESERVED_SERVICES = frozenset({"healthz", "readyz", "metrics"})
"""First path segments that gateways answer themselves."""


def check(draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    """Adds every mistake of the draft to `mistakes`."""
    _check_names(draft, mistakes)
    check_product(draft, mistakes)
    check_directory(draft, pack, mistakes)
    check_regions(draft, pack, mistakes)
    check_operator(draft, pack, mistakes)
    check_cells(draft, pack, mistakes)
    check_services(draft, pack, mistakes)
    check_actors(draft, pack, mistakes)
    check_instruments(draft, pack, mistakes)
    check_travellers(draft, pack, mistakes)
    check_terms(draft, mistakes)
    check_destinations(draft, pack, mistakes)


def _check_names(draft: Draft, mistakes: Mistakes) -> None:
    declared = draft.declared
    needed = (("regions", "region", declared.regions), ("cells", "cell", declared.cells))
    for table, kind, names in (*needed, ("services", "service", declared.services)):
        if not names:
            mistakes.add((table,), f"declares no {kind}; at least one is needed")
        for name in names:
            _check_slug(name, kind, (table, name), mistakes)
    others = (("actors", "service", declared.actors), ("terms", "terms", declared.terms))
    for table, kind, names in (*others, ("destinations", "destination", declared.destinations)):
        for name in names:
            _check_slug(name, kind, (table, name), mistakes)
    for name in declared.services & RESERVED_SERVICES:
        mistakes.add(("services", name), f"/{name} is the gateway's own path; choose another name")
    for cell_name, cell in draft.cells.items():
        for shard in cell.shards:
            _check_slug(shard, "shard", ("cells", cell_name, "shards", shard), mistakes)


def _check_slug(name: str, kind: str, at: Path, mistakes: Mistakes) -> None:
    try:
        parse_slug(name, kind)
    except MalformedWord as exc:
        mistakes.add(at, str(exc))
