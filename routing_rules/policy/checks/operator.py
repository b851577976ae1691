"""`[operator]`: what the operator says of itself, in the words of the pack. Pure."""

from routing_rules.hints import shown
from routing_rules.pack import Kind, Pack
from routing_rules.pack.rows import Deny, Edge, Gateway
from routing_rules.policy.checks.words import check_country, check_tags
from routing_rules.policy.draft import Draft, canonical_count
from routing_rules.policy.key_lines import Path
from routing_rules.policy.mistakes import Mistakes
from routing_rules.policy.tables import Operator

_AT: Path = ("operator",)
_DECLARED_KINDS = ("sector", "operator", "volume")
"""Kinds of tags that say something about whoever handles the data; the others say what the data is."""
COUNT_MAX = 10**12
"""More than all people and devices there are."""


def check_operator(draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    operator = draft.operator
    if operator is None:
        return
    if operator.country is not None:
        check_country(operator.country, (*_AT, "country"), pack, mistakes)
    _check_sectors(operator.sectors or (), pack, mistakes)
    classes = recipient_classes(pack)
    for n, name in enumerate(operator.recipient_classes or (), start=1):
        if name not in classes:
            mistakes.add_unknown((*_AT, "recipient_classes", n), f"no class {shown(name)} in the pack", name, classes)
    overlays = {row.id for row in pack.jurisdictions if row.kind is Kind.OVERLAY}
    for n, name in enumerate(operator.overlays or (), start=1):
        if name not in overlays:
            mistakes.add_unknown((*_AT, "overlays", n), f"no overlay {shown(name)} in the pack", name, overlays)
    _check_counts(operator, pack, mistakes)


def recipient_classes(pack: Pack) -> frozenset[str]:
    """Every class of recipients that some row asks for."""
    rows: tuple[Edge | Gateway | Deny, ...] = (*pack.edges, *pack.gateways, *pack.denies)
    return frozenset(name for row in rows for name in row.recipient_class)


def _check_sectors(sectors: tuple[str, ...], pack: Pack, mistakes: Mistakes) -> None:
    check_tags(sectors, (*_AT, "sectors"), pack, mistakes)
    kinds = {row.tag: row.kind for row in pack.tags}
    for n, name in enumerate(sectors, start=1):
        kind = kinds.get(pack.tag_names.get(name, ""))
        if kind is not None and kind not in _DECLARED_KINDS:
            what = (
                f"{shown(name)} is of kind {kind}, a kind of data; name it in the tags of the services that handle it"
            )
            mistakes.add((*_AT, "sectors", n), what)


def _check_counts(operator: Operator, pack: Pack, mistakes: Mistakes) -> None:
    possible = frozenset(f"{row.jurisdiction}/{row.tag}" for row in pack.thresholds)
    first_with: dict[str, str] = {}
    for name, count in operator.counts.items():
        at = (*_AT, "counts", name)
        key = canonical_count(name, pack)
        if not 0 <= count <= COUNT_MAX:
            mistakes.add(at, f"is {shown(count)}; a count is 0 or more, and at most {COUNT_MAX}")
        if key not in possible:
            listed = ", ".join(sorted(possible)) or "none"
            mistakes.add(at, f"no threshold of the pack counts that; possible are {listed}")
        elif (other := first_with.setdefault(key, name)) != name:
            mistakes.add(at, f"counts the same as {shown(other)}")
