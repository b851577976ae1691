"""`[cells.ID]` and its shards: served regimes, endpoints inside the cell's jurisdiction, databases. Pure."""

import re
from collections.abc import Iterable

from foundation.words import Country
from routing_rules.hints import shown
from routing_rules.pack import Jurisdiction, Pack
from routing_rules.policy.checks.words import check_country, check_regime, check_subdivision, check_weight
from routing_rules.policy.draft import Draft
from routing_rules.policy.key_lines import Path
from routing_rules.policy.mistakes import Mistakes
from routing_rules.policy.tables import Cell, Shard

_ENV = re.compile(r"[A-Z][A-Z0-9_]*\Z")
_LISTED_MAX = 8


def check_cells(draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    for name, cell in draft.cells.items():
        at: Path = ("cells", name)
        _check_cell(cell, at, draft, pack, mistakes)
        _check_shards(cell, at, mistakes)
        _check_endpoints(cell, at, draft, pack, mistakes)
    _check_dsn_envs(draft, mistakes)


def _check_cell(cell: Cell, at: Path, draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    if cell.region not in draft.declared.regions:
        mistakes.add_unknown((*at, "region"), f"no region {shown(cell.region)}", cell.region, draft.declared.regions)
    if not cell.serves:
        mistakes.add((*at, "serves"), "is empty; name the jurisdictions whose subjects may live here")
    for n, regime in enumerate(cell.serves, start=1):
        check_regime(regime, (*at, "serves", n), pack, mistakes)
    for n, country in enumerate(cell.copies, start=1):
        check_country(country, (*at, "copies", n), pack, mistakes)
    check_weight(cell.weight, (*at, "weight"), mistakes)


def _check_shards(cell: Cell, at: Path, mistakes: Mistakes) -> None:
    if not cell.shards:
        mistakes.add((*at, "shards"), "is empty; a cell has at least one shard")
    for name, shard in cell.shards.items():
        check_weight(shard.weight, (*at, "shards", name, "weight"), mistakes)
        if not _ENV.match(shard.dsn_env):
            what = f"is {shown(shard.dsn_env)}; must be the name of an environment variable, such as EU_DE_S1"
            mistakes.add((*at, "shards", name, "dsn_env"), what)


def _check_endpoints(cell: Cell, at: Path, draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    """Every endpoint of a cell stands inside the cell's own jurisdiction."""
    row = check_regime(cell.jurisdiction, (*at, "jurisdiction"), pack, mistakes)
    for name, shard in cell.shards.items():
        _check_shard_place(shard, (*at, "shards", name), row, pack, mistakes)
    region = draft.regions.get(cell.region)
    if row is None or region is None or region.country not in pack.owners:
        return  # said at the region itself
    wrong = _outside(row, region.country, region.subdivision)
    if wrong is not None:
        mistakes.add((*at, "region"), f"region {cell.region} {wrong[1]}")


def _check_shard_place(shard: Shard, at: Path, row: Jurisdiction | None, pack: Pack, mistakes: Mistakes) -> None:
    known = check_country(shard.country, (*at, "country"), pack, mistakes)
    if not known or not check_subdivision(shard.subdivision, shard.country, (*at, "subdivision"), mistakes):
        return
    wrong = None if row is None else _outside(row, shard.country, shard.subdivision)
    if wrong is not None:
        mistakes.add((*at, wrong[0]), f"the shard {wrong[1]}")


def _outside(row: Jurisdiction, country: Country, part: str | None) -> tuple[str, str] | None:
    """Why a place is not shown to lie inside the jurisdiction, and which key says so; None if it does lie there."""
    if country in row.countries or (part is not None and part in row.subdivisions):
        return None
    parts_here = [one for one in row.subdivisions if one.startswith(f"{country}-")]
    if parts_here and part is None:
        return "subdivision", f"does not say in which part of {country} it is; {row.id} is {_listed(parts_here)}"
    where = part or country
    key = "subdivision" if parts_here else "country"
    return (
        key,
        f"is in {where}, outside {row.id} ({_listed((*row.countries, *row.subdivisions)) or 'the pack lists no place'})",
    )


def _listed(places: Iterable[str]) -> str:
    every = tuple(places)
    return " ".join(every[:_LISTED_MAX]) + (" …" if len(every) > _LISTED_MAX else "")


def _check_dsn_envs(draft: Draft, mistakes: Mistakes) -> None:
    first_with: dict[str, str] = {}
    for cell_name, cell in draft.cells.items():
        for shard_name, shard in cell.shards.items():
            here = f"cells.{cell_name}.shards.{shard_name}"
            other = first_with.setdefault(shard.dsn_env, here)
            if other != here:
                at = ("cells", cell_name, "shards", shard_name, "dsn_env")
                mistakes.add(at, f"{shard.dsn_env} belongs to {other} already; two shards never share a database")
