"""What the registry says of regions, cells, shards and services that policy declares: addresses, weights, drains. Pure.

Policy decides what may exist and where. The registry chooses within that and never widens it: an entry that policy does not declare is
refused when it is stated, and says nothing from the moment on at which policy stops declaring it.
"""

import enum
from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from foundation.problems import Code, Problem
from foundation.words import CellId, FeedSeq, RegionId, ServiceId, ShardId
from routing_rules.choose import Shares, open_shards
from routing_rules.hints import nearest, shown
from routing_rules.policy import WEIGHT_MAX, Policy

ADDRESSES_MAX = 64
UNSTATED = 0
"""The version of an entry that nobody has stated yet."""


class Kind(enum.StrEnum):
    REGION = "region"
    CELL = "cell"
    SHARD = "shard"
    SERVICE = "service"


class Name(msgspec.Struct, frozen=True):
    """What an entry is about; `text` is its path below `/v1/registry/`."""

    kind: Kind
    region: RegionId | None = None
    cell: CellId | None = None
    shard: ShardId | None = None
    service: ServiceId | None = None

    @property
    def text(self) -> str:
        match self.kind:
            case Kind.REGION:
                return f"regions/{self.region}"
            case Kind.CELL:
                return f"cells/{self.cell}"
            case Kind.SHARD:
                return f"cells/{self.cell}/shards/{self.shard}"
            case Kind.SERVICE:
                return f"services/{self.service}/cells/{self.cell}"


def region_name(region: RegionId) -> Name:
    return Name(Kind.REGION, region=region)


def cell_name(cell: CellId) -> Name:
    return Name(Kind.CELL, cell=cell)


def shard_name(cell: CellId, shard: ShardId) -> Name:
    return Name(Kind.SHARD, cell=cell, shard=shard)


def service_name(service: ServiceId, cell: CellId) -> Name:
    return Name(Kind.SERVICE, service=service, cell=cell)


class Stated(msgspec.Struct, frozen=True, kw_only=True):
    """One entry as it stands; `version` counts its changes. `drain`: takes no new subject. None: what policy says holds."""

    entry: str
    version: int
    drain: bool = False
    weight: float | None = None
    addresses: tuple[str, ...] | None = None


class Registry(msgspec.Struct, frozen=True, kw_only=True):
    """Every stated entry by its name, as of feed event `seq`, the last that changed one (0: none did)."""

    seq: FeedSeq = FeedSeq(0)
    entries: Mapping[str, Stated] = {}

    def of(self, name: Name) -> Stated:
        """What is stated of it; nothing, where nobody has."""
        text = name.text
        return self.entries.get(text) or Stated(entry=text, version=UNSTATED)


EMPTY = Registry()


class RegistryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that policy declares, and what is stated of things that it no longer does; `as_of` is the feed event that last changed
    an entry, 0 where none has."""

    as_of: FeedSeq
    entries: tuple[Stated, ...]


Weight = Annotated[float, Meta(gt=0, le=WEIGHT_MAX)]
Address = Annotated[str, Meta(min_length=1, max_length=300)]


def names(policy: Policy) -> tuple[Name, ...]:
    """Everything that policy declares and that an entry may be about, in a stable order."""
    return (
        *(region_name(one) for one in sorted(policy.regions)),
        *(cell_name(one) for one in sorted(policy.cells)),
        *(shard_name(cell, one) for cell in sorted(policy.cells) for one in sorted(policy.cells[cell].shards)),
        *(service_name(one, cell) for one in sorted(policy.services) for cell in sorted(policy.services[one].hosts)),
    )


def undeclared(name: Name, policy: Policy) -> Problem | None:
    """None when policy declares what the entry is about, else which word of it policy does not know."""
    match name.kind:
        case Kind.REGION:
            return _missing("region", name.region, policy.regions)
        case Kind.CELL:
            return _missing("cell", name.cell, policy.cells)
        case Kind.SHARD:
            if name.cell not in policy.cells:
                return _missing("cell", name.cell, policy.cells)
            return _missing(f"shard in cell {name.cell}", name.shard, policy.cells[name.cell].shards)
        case Kind.SERVICE:
            if name.service not in policy.services:
                return _missing("service", name.service, policy.services)
            return _missing(f"addresses of {name.service} in a cell", name.cell, policy.services[name.service].hosts)


def unfit(name: Name, weight: float | None, addresses: tuple[str, ...] | None, policy: Policy) -> Problem | None:
    """None when an entry that policy declares may say this. A weight is of a cell or shard, addresses of a service in a cell."""
    if weight is not None and name.kind not in (Kind.CELL, Kind.SHARD):
        return Problem(code=Code.UNPROCESSABLE, detail=f"a {name.kind} has no weight; cells and shards have")
    if addresses is None:
        return None
    if name.kind is not Kind.SERVICE or name.service is None or name.cell is None:
        return Problem(code=Code.UNPROCESSABLE, detail=f"a {name.kind} has no addresses; services in cells have")
    declared = policy.services[name.service].hosts[name.cell]
    unknown = [one for one in addresses if one not in declared]
    if unknown:
        return Problem(
            code=Code.UNPROCESSABLE,
            detail=f"policy does not declare {shown(unknown[0])} for {name.service} in {name.cell}{nearest(unknown[0], declared)}",
            extra={"addresses": unknown},
        )
    if not addresses or len(set(addresses)) != len(addresses):
        return Problem(code=Code.UNPROCESSABLE, detail="addresses are at least one, each once")
    return None


def _missing(what: str, name: str | None, declared: Iterable[str]) -> Problem | None:
    known = list(declared)
    if name in known:
        return None
    text = str(name)
    return Problem(code=Code.NOT_FOUND, detail=f"policy declares no {what} {shown(text)}{nearest(text, known)}")


def shares(registry: Registry, policy: Policy, services: Iterable[ServiceId]) -> Shares:
    """The weights to place by for these services, where they are not policy's own; 0 where a drain forbids new subjects."""
    asked = tuple(services)
    found: dict[tuple[CellId, ShardId | None], float] = {}
    for cell, stated in policy.cells.items():
        said = registry.of(cell_name(cell))
        drains = (said, registry.of(region_name(stated.region)), *(registry.of(service_name(s, cell)) for s in asked))
        if any(one.drain for one in drains):
            found[cell, None] = 0.0
        elif said.weight is not None:
            found[cell, None] = said.weight
        for shard in stated.shards:
            said = registry.of(shard_name(cell, shard))
            if said.drain or said.weight is not None:
                found[cell, shard] = 0.0 if said.drain or said.weight is None else said.weight
    return found


def takes(registry: Registry, policy: Policy, cell: CellId, services: Iterable[ServiceId]) -> bool:
    """Whether a new subject may be placed there just now, as far as drains go."""
    weights = shares(registry, policy, services)
    return weights.get((cell, None), 1.0) > 0 and bool(open_shards(cell, policy.cells[cell], weights))


def addresses(registry: Registry, policy: Policy, service: ServiceId, cell: CellId) -> tuple[str, ...]:
    """Where a service is reached in a cell: what the registry chose of policy's hosts; all of them where nothing of its choice is left."""
    declared = policy.services[service].hosts.get(cell, ())
    chosen = registry.of(service_name(service, cell)).addresses
    return tuple(one for one in chosen or () if one in declared) or declared
