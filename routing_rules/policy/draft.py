"""A policy on its way in: what of a TOML document has the right shape, every name it declares, and the policy that becomes of it. Pure."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from foundation.words import CellId, DestinationId, RegionId, ServiceId
from routing_rules.hints import shown
from routing_rules.pack import Pack
from routing_rules.policy.mistakes import Mistakes
from routing_rules.policy.shape import read
from routing_rules.policy.tables import (
    Actor,
    Cell,
    Destination,
    Directory,
    Instrument,
    Operator,
    Policy,
    Product,
    Region,
    Service,
    Terms,
)

S = TypeVar("S", bound=msgspec.Struct)


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """Names of entries, broken ones too, so that a reference to a broken entry is not reported as a second mistake."""

    regions: frozenset[str]
    cells: frozenset[str]
    services: frozenset[str]
    actors: frozenset[str]
    terms: frozenset[str]
    destinations: frozenset[str]


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """The well-shaped parts of a policy. `instruments`, by their place in the text (from 1); `travellers` as written."""

    product: Product | None
    regions: Mapping[RegionId, Region]
    directory: Directory | None
    cells: Mapping[CellId, Cell]
    services: Mapping[ServiceId, Service]
    operator: Operator | None
    actors: Mapping[ServiceId, Actor]
    instruments: Mapping[int, Instrument]
    travellers: Mapping[str, Any]
    terms: Mapping[str, Terms]
    destinations: Mapping[DestinationId, Destination]
    declared: Declared


def draft_of(document: Mapping[str, Any], mistakes: Mistakes) -> Draft:
    """The draft of a parsed document, after adding what has not the shape of a policy."""
    known = [field.encode_name for field in msgspec.structs.fields(Policy)]
    for key in document:
        if key not in known:
            mistakes.add_unknown((key,), "unknown key", key, known)
    if "directory" not in document:
        mistakes.add(("directory", "country"), "is missing; say where the directory runs, its rows are personal data")
    return Draft(
        product=read(document.get("product", {}), Product, ("product",), mistakes),
        regions={RegionId(name): one for name, one in _entries(document, "regions", Region, mistakes).items()},
        directory=_section(document, "directory", Directory, mistakes),
        cells={CellId(name): one for name, one in _entries(document, "cells", Cell, mistakes).items()},
        services={ServiceId(name): one for name, one in _entries(document, "services", Service, mistakes).items()},
        operator=_section(document, "operator", Operator, mistakes),
        actors={ServiceId(name): one for name, one in _entries(document, "actors", Actor, mistakes).items()},
        instruments=_instruments(document, mistakes),
        travellers=_table(document, "travellers", mistakes),
        terms=_entries(document, "terms", Terms, mistakes),
        destinations={
            DestinationId(name): one for name, one in _entries(document, "destinations", Destination, mistakes).items()
        },
        declared=Declared(
            regions=_names(document, "regions"),
            cells=_names(document, "cells"),
            services=_names(document, "services"),
            actors=_names(document, "actors"),
            terms=_names(document, "terms"),
            destinations=_names(document, "destinations"),
        ),
    )


def policy_of(draft: Draft, product: Product, directory: Directory, pack: Pack) -> Policy:
    """The policy of a draft without mistakes. Tags are the pack's own names from here on, aliases are gone."""
    return Policy(
        product=product,
        regions=dict(draft.regions),
        directory=directory,
        cells=dict(draft.cells),
        services={name: replace(one, tags=canonical(one.tags, pack)) for name, one in draft.services.items()},
        operator=_operator(draft.operator or Operator(), pack),
        actors=dict(draft.actors),
        instruments=tuple(replace(one, tags=canonical(one.tags, pack)) for _, one in sorted(draft.instruments.items())),
        travellers=dict(draft.travellers),
        terms=dict(draft.terms),
        destinations=dict(draft.destinations),
    )


def canonical(tags: tuple[str, ...], pack: Pack) -> tuple[str, ...]:
    """Each tag once, under the pack's name for it; what is no tag there (`*`) stays as it is."""
    return tuple(dict.fromkeys(pack.tag_names.get(tag, tag) for tag in tags))


def canonical_count(key: str, pack: Pack) -> str:
    """`<jurisdiction>/<tag or alias>` under the pack's name of the tag."""
    jurisdiction, _, tag = key.partition("/")
    return f"{jurisdiction}/{pack.tag_names.get(tag, tag)}"


def _operator(operator: Operator, pack: Pack) -> Operator:
    sectors = None if operator.sectors is None else canonical(operator.sectors, pack)
    counts = {canonical_count(key, pack): count for key, count in operator.counts.items()}
    return replace(operator, sectors=sectors, counts=counts)


def _section(document: Mapping[str, Any], key: str, shape: type[S], mistakes: Mistakes) -> S | None:
    return read(document[key], shape, (key,), mistakes) if key in document else None


def _entries(document: Mapping[str, Any], table: str, shape: type[S], mistakes: Mistakes) -> dict[str, S]:
    """The well-shaped entries of a table of tables."""
    entries = _table(document, table, mistakes)
    found = {name: read(entry, shape, (table, name), mistakes) for name, entry in entries.items()}
    return {name: entry for name, entry in found.items() if entry is not None}


def _instruments(document: Mapping[str, Any], mistakes: Mistakes) -> dict[int, Instrument]:
    entries = document.get("instruments", [])
    if not isinstance(entries, list):
        mistakes.add(("instruments",), f"is {shown(entries)}, but must be an array of tables: write [[instruments]]")
        return {}
    found = {n: read(entry, Instrument, ("instruments", n), mistakes) for n, entry in enumerate(entries, start=1)}
    return {n: entry for n, entry in found.items() if entry is not None}


def _table(document: Mapping[str, Any], table: str, mistakes: Mistakes) -> dict[str, Any]:
    entries = document.get(table, {})
    if isinstance(entries, dict):
        return entries
    mistakes.add((table,), f"is {shown(entries)}, but must be a table")
    return {}


def _names(document: Mapping[str, Any], table: str) -> frozenset[str]:
    entries = document.get(table, {})
    return frozenset(entries) if isinstance(entries, dict) else frozenset()
