"""What rows of the pack point at: jurisdictions, groups, tags, thresholds, and the prose they were made from."""

import re
from collections.abc import Iterator
from typing import Any, Literal

from routing_rules.hints import nearest
from routing_rules.pack.pack import TABLES, Pack
from routing_rules.pack.prose import Prose
from routing_rules.pack.rows import Fact, Unresolved

Target = Literal["id", "place", "place_or_any", "tag", "tag_or_any", "threshold"]

POINTERS: dict[str, dict[str, Target]] = {
    "jurisdictions": {"parent": "id"},
    "groups": {"member": "id"},
    "tags": {"may_be": "tag"},
    "special_categories": {"jurisdiction": "id", "tag": "tag"},
    "edges": {"origin": "id", "to": "place", "tags_only": "tag", "tags_except": "tag"},
    "gateways": {
        "origin": "id",
        "to": "place_or_any",
        "tags_only": "tag",
        "tags_except": "tag",
        "threshold_ids": "threshold",
    },
    "denies": {"origin": "id", "to": "place_or_any", "tag": "tag_or_any", "threshold_id": "threshold"},
    "storage": {"jurisdiction": "id", "tag": "tag_or_any", "region": "place"},
    "thresholds": {"jurisdiction": "id", "tag": "tag"},
    "obligations": {"jurisdiction": "id"},
    "unresolved": {},
}
"""File -> field -> what its words must name. Tags stand by their own name here, never by an alias; a place is an id or `group:NAME`."""

_COMPILATION = re.compile(r"jurisdictions\.md:[1-9][0-9]*\Z")
"""Sections of the text that all files were made from; it is not part of the pack."""


Names = dict[Target, frozenset[str]]


def names_of(pack: Pack) -> Names:
    """Everything that may be pointed at."""
    ids = frozenset(pack.rows)
    places = ids | {f"group:{row.group}" for row in pack.groups}
    tags = frozenset(row.tag for row in pack.tags)
    return {
        "id": ids,
        "place": places,
        "place_or_any": places | {"*"},
        "tag": tags,
        "tag_or_any": tags | {"*"},
        "threshold": frozenset(pack.thresholds_by_id),
    }


def dangling(row: Fact | Unresolved, names: Names) -> Iterator[str]:
    """What the row names and nobody has, each with the nearest name there is."""
    for field, target in POINTERS[row.file].items():
        for word in _words(getattr(row, field)):
            if word not in names[target]:
                yield f"{field} names {word}, which is no {target.replace('_', ' ')}{nearest(word, names[target])}"


def without_prose(row: Fact | Unresolved, pack: Pack) -> Iterator[str]:
    """References of the row that lead to no row of the prose."""
    for ref in row.fact_ref:
        if ref not in pack.prose and _COMPILATION.match(ref) is None:
            yield f"fact_ref {ref} is no row of the prose{nearest(ref, pack.prose)}"
    if isinstance(row, Fact) and row.source.startswith("="):
        for ref in (reference.removeprefix("=") for reference in row.source.split(";")):
            if ref not in pack.prose:
                yield f"source {ref} is no row of the prose{nearest(ref, pack.prose)}"


def unused_prose(pack: Pack) -> Iterator[Prose]:
    """Rows of the prose that nothing was made from, not even a line that says why not."""
    rows = (row for kind in TABLES for row in getattr(pack, kind.file))
    used = {ref for row in rows for ref in row.fact_ref}
    yield from (row for ref, row in pack.prose.items() if ref not in used)


def _words(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)
