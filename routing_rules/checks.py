"""What a policy of the right shape must still hold to: names that exist, endpoints in the right country, routes, bounds. Pure.

Checks look at whatever is well-formed, so that one broken entry does not hide the mistakes of the others; `Draft.declared` holds the
names of all entries, broken ones too, so that a reference to a broken entry is not reported as a second mistake.
"""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from foundation.words import (
    RECORDS,
    CellId,
    Country,
    JurisdictionId,
    MalformedWord,
    RegionId,
    ServiceId,
    Verb,
    parse_slug,
)
from routing_rules.mistakes import Mistakes, Path, nearest, shown
from routing_rules.pack import Kind, Pack
from routing_rules.policy import (
    DECISION_S_MAX,
    STALE_S_MAX,
    STALE_S_MIN,
    WEIGHT_MAX,
    Cell,
    Directory,
    Operator,
    Product,
    Region,
    Service,
)

RESERVED_SERVICES = frozenset({"healthz", "readyz", "metrics"})
"""First path segments that gateways answer themselves."""
_ENV = re.compile(r"[A-Z][A-Z0-9_]*\Z")
_ADDRESS = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):(\d{1,5})\Z")
_ROUTE = re.compile(r"(?:/[A-Za-z0-9._~-]+)+\Z")
_WORD = re.compile(r"[a-z][a-z0-9_-]*\Z")


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    regions: frozenset[str]
    cells: frozenset[str]
    services: frozenset[str]


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """The well-shaped parts of a policy, and every name that it declares."""

    product: Product | None
    regions: Mapping[RegionId, Region]
    directory: Directory | None
    cells: Mapping[CellId, Cell]
    services: Mapping[ServiceId, Service]
    operator: Operator | None
    declared: Declared


def check(draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    """Adds every mistake of the draft to `mistakes`."""
    _check_names(draft, mistakes)
    if draft.product is not None:
        _check_product(draft.product, mistakes)
    if draft.directory is not None:
        _check_country(draft.directory.country, ("directory", "country"), pack, mistakes)
    if draft.operator is not None:
        _check_operator(draft.operator, pack, mistakes)
    _check_regions(draft, pack, mistakes)
    for name, cell in draft.cells.items():
        _check_cell(cell, ("cells", name), draft, pack, mistakes)
    _check_dsn_envs(draft, mistakes)
    for service_name, service in draft.services.items():
        _check_service(service_name, service, draft, mistakes)
    _check_records(draft, mistakes)


def _check_names(draft: Draft, mistakes: Mistakes) -> None:
    named = (("regions", "region", draft.declared.regions), ("cells", "cell", draft.declared.cells))
    for table, kind, names in (*named, ("services", "service", draft.declared.services)):
        if not names:
            mistakes.add((table,), f"declares no {kind}; at least one is needed")
        for name in names:
            _check_slug(name, kind, (table, name), mistakes)
    for name in draft.declared.services & RESERVED_SERVICES:
        mistakes.add(("services", name), f"/{name} is the gateway's own path; choose another name")
    for cell_name, cell in draft.cells.items():
        for shard in cell.shards:
            _check_slug(shard, "shard", ("cells", cell_name, "shards", shard), mistakes)


def _check_slug(name: str, kind: str, at: Path, mistakes: Mistakes) -> None:
    try:
        parse_slug(name, kind)
    except MalformedWord as exc:
        mistakes.add(at, str(exc))


def _check_product(product: Product, mistakes: Mistakes) -> None:
    at: Path = ("product",)
    if product.placement_key != "iss+sub":
        mistakes.add((*at, "placement_key"), f"is {shown(product.placement_key)}; this release places by iss+sub only")
    if not 0 < product.decision_s <= DECISION_S_MAX:
        mistakes.add((*at, "decision_s"), f"is {product.decision_s:g}; must be above 0 and at most {DECISION_S_MAX:g}")
    if not STALE_S_MIN <= product.stale_s_max <= STALE_S_MAX:
        bounds = f"must be at least {STALE_S_MIN:g} and at most {STALE_S_MAX:g}"
        mistakes.add((*at, "stale_s_max"), f"is {product.stale_s_max:g}; {bounds}")


def _check_operator(operator: Operator, pack: Pack, mistakes: Mistakes) -> None:
    if operator.country is not None:
        _check_country(operator.country, ("operator", "country"), pack, mistakes)
    for name, count in (operator.counts or {}).items():
        if count < 0:
            mistakes.add(("operator", "counts", name), f"is {count}; a count is 0 or more")


def _check_country(country: Country, at: Path, pack: Pack, mistakes: Mistakes) -> bool:
    """True if the pack knows the country code, by whichever row."""
    if country in pack.owners:
        return True
    upper = country.upper()
    hint = f"; did you mean {upper}?" if upper in pack.owners else "; write the two letters of ISO 3166-1, such as DE"
    mistakes.add(at, f"no country {shown(country)}{hint}")
    return False


def _check_regions(draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    first_with: dict[str, str] = {}
    for name, region in draft.regions.items():
        at: Path = ("regions", name)
        _check_country(region.country, (*at, "country"), pack, mistakes)
        wrong = _origin_mistake(region.origin)
        if wrong is not None:
            mistakes.add((*at, "origin"), f"is {shown(region.origin)}; {wrong}")
        elif (other := first_with.setdefault(region.origin.lower(), name)) != name:
            mistakes.add((*at, "origin"), f"is the origin of regions.{other} too; each region has its own")


def _origin_mistake(origin: str) -> str | None:
    """What keeps the text from being an origin (RFC 6454 section 4: scheme, host, port), or None."""
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        return f"not a URL: {exc}"
    if parts.scheme not in ("http", "https") or not host or port == 0 or re.search(r"[\s\x00-\x1f\\]", origin):
        return "must be the public URL of its gateways, such as https://eu.example.com"
    if "@" in parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
        return "must end after host and port: no path, query, user or trailing slash"
    return None


def _check_cell(cell: Cell, at: Path, draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    if cell.region not in draft.declared.regions:
        mistakes.add((*at, "region"), f"no region {shown(cell.region)}{nearest(cell.region, draft.declared.regions)}")
    if not cell.serves:
        mistakes.add((*at, "serves"), "is empty; name the jurisdictions whose subjects may live here")
    for regime in cell.serves:
        _check_regime(regime, (*at, "serves"), pack, mistakes)
    _check_weight(cell.weight, (*at, "weight"), mistakes)
    if not cell.shards:
        mistakes.add((*at, "shards"), "is empty; a cell has at least one shard")
    for name, shard in cell.shards.items():
        _check_weight(shard.weight, (*at, "shards", name, "weight"), mistakes)
        if not _ENV.match(shard.dsn_env):
            what = f"is {shown(shard.dsn_env)}; must be the name of an environment variable, such as EU_DE_S1"
            mistakes.add((*at, "shards", name, "dsn_env"), what)
    _check_endpoints(cell, at, draft, pack, mistakes)


def _check_regime(regime: JurisdictionId, at: Path, pack: Pack, mistakes: Mistakes) -> bool:
    """True if the id names a jurisdiction that people can live under and of which something is known."""
    row = pack.rows.get(regime)
    if row is None:
        ids = [one.id for one in pack.rows.values() if one.kind is not Kind.DEFAULT]
        mistakes.add(at, f"no jurisdiction {shown(regime)} in the pack{nearest(regime, ids)}")
    elif row.kind is Kind.DEFAULT:
        mistakes.add(at, f"of {regime} the pack knows nothing (row as of {row.as_of}), so nobody's data may rest on it")
    elif row.kind not in (Kind.STATE, Kind.BLOC, Kind.SUBDIVISION):
        mistakes.add(at, f"{regime} is of kind {row.kind}, which follows an entity; nobody lives there")
    else:
        return True
    return False


def _check_endpoints(cell: Cell, at: Path, draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    """Every endpoint of a cell stands in a country of the cell's own jurisdiction."""
    if not _check_regime(cell.jurisdiction, (*at, "jurisdiction"), pack, mistakes):
        return
    allowed = pack.rows[cell.jurisdiction].countries
    if not allowed:
        what = f"the pack lists no countries for {cell.jurisdiction}, so no endpoint can be shown to lie inside it"
        mistakes.add((*at, "jurisdiction"), what)
        return
    endpoints: list[tuple[Path, Country, str]] = [
        ((*at, "shards", name, "country"), shard.country, "the shard") for name, shard in cell.shards.items()
    ]
    region = draft.regions.get(cell.region)
    if region is not None and region.country in pack.owners:
        endpoints.append(((*at, "region"), region.country, f"region {cell.region}"))
    for path, country, what in endpoints:
        if country in pack.owners and country not in allowed:
            mistakes.add(path, f"{what} is in {country}, outside {cell.jurisdiction} ({_listed(allowed)})")
        elif country not in pack.owners:
            _check_country(country, path, pack, mistakes)


def _listed(countries: tuple[Country, ...]) -> str:
    return " ".join(countries[:8]) + (" …" if len(countries) > 8 else "")


def _check_weight(weight: float, at: Path, mistakes: Mistakes) -> None:
    if not 0 < weight <= WEIGHT_MAX:  # false for nan and infinity too
        mistakes.add(at, f"is {weight:g}; must be above 0 and at most {WEIGHT_MAX:g}")


def _check_dsn_envs(draft: Draft, mistakes: Mistakes) -> None:
    first_with: dict[str, str] = {}
    for cell_name, cell in draft.cells.items():
        for shard_name, shard in cell.shards.items():
            here = f"cells.{cell_name}.shards.{shard_name}"
            other = first_with.setdefault(shard.dsn_env, here)
            if other != here:
                at = ("cells", cell_name, "shards", shard_name, "dsn_env")
                mistakes.add(at, f"{shard.dsn_env} belongs to {other} already; two shards never share a database")


def _check_service(name: ServiceId, service: Service, draft: Draft, mistakes: Mistakes) -> None:
    at: Path = ("services", name)
    _check_word(service.purpose, (*at, "purpose"), "a purpose", mistakes)
    for tag in service.tags:
        _check_word(tag, (*at, "tags"), "a tag", mistakes)
    _check_routes(name, service, mistakes)
    _check_hosts(service, at, draft, mistakes)
    if service.jobs is not None:
        _check_word(service.jobs.purpose, (*at, "jobs", "purpose"), "a purpose", mistakes)
        if Verb.SIGNUP in service.jobs.verbs:
            mistakes.add((*at, "jobs", "verbs"), "a job reads or writes; it signs nobody up")


def _check_word(word: str, at: Path, what: str, mistakes: Mistakes) -> None:
    if not _WORD.match(word):
        mistakes.add(at, f"is {shown(word)}; {what} is lower-case letters, digits, - and _")


def _check_routes(name: ServiceId, service: Service, mistakes: Mistakes) -> None:
    for key, routes in (("anonymous", service.anonymous), ("signup", service.signup)):
        for route in routes:
            at: Path = ("services", name, key)
            segments = route.split("/")
            if not route.startswith(f"/{name}/"):
                mistakes.add(at, f"{shown(route)} must start with /{name}/, or it would be another service's")
            elif not _ROUTE.match(route) or "." in segments or ".." in segments:
                mistakes.add(at, f"{shown(route)} must be a plain path: no query, escapes, empty or dot segments")
    for route in sorted(set(service.anonymous) & set(service.signup)):
        mistakes.add(("services", name, "signup"), f"{shown(route)} is anonymous too; a sign-up needs a token")


def _check_hosts(service: Service, at: Path, draft: Draft, mistakes: Mistakes) -> None:
    for cell in service.hosts:
        if cell not in draft.declared.cells:
            mistakes.add((*at, "hosts", cell), f"no cell {shown(cell)}{nearest(cell, draft.declared.cells)}")
    for missing in sorted(draft.declared.cells - set(service.hosts)):
        what = f"names no hosts for cell {missing}; write {missing} = [] if the service does not run there"
        mistakes.add((*at, "hosts"), what)
    if service.hosts and not any(service.hosts.values()):
        mistakes.add((*at, "hosts"), "the service runs in no cell")
    for cell, addresses in service.hosts.items():
        for address in addresses:
            match = _ADDRESS.match(address)
            if match is None or not 1 <= int(match.group(1)) <= 65535:
                mistakes.add((*at, "hosts", cell), f"{shown(address)} must be host:port, such as 127.0.0.1:7201")
        if len(set(addresses)) != len(addresses):
            mistakes.add((*at, "hosts", cell), "names one address twice")


def _check_records(draft: Draft, mistakes: Mistakes) -> None:
    if RECORDS not in draft.declared.services:
        mistakes.add(("services", RECORDS), "is missing; it names the cell service of each cell (the records API)")
    records = draft.services.get(RECORDS)
    for cell, addresses in (records.hosts if records else {}).items():
        if not addresses:
            mistakes.add(("services", RECORDS, "hosts", cell), "is empty; every cell has its cell service")
