"""What a sign-in hint says: a member's own region, anybody else's decoy, in one form and one length. Pure.

A decoy is drawn by a keyed hash of the identifier itself, with the shares of the population: it is the same at every gateway and at every
time, also while the blinding key is rotated, and lies as members lie. Everything that can be observed is decided without looking at
which of the two it is.
"""

from collections.abc import Mapping, Sequence

import msgspec

from directory.placement.core import Placement, State
from foundation.blinding import Blinder
from foundation.identifiers import Identifier
from foundation.words import CellId, RegionId
from gateway.edge.ports import Home
from routing_rules.choose import heaviest
from routing_rules.policy import Policy

_GONE = (State.ERASED, State.MOVED)


class Hint(msgspec.Struct, frozen=True):
    """`home`: the origin of the region's gateways."""

    region: RegionId
    home: str


def region_shares(cells: Mapping[CellId, float], policy: Policy) -> dict[RegionId, float]:
    """How people lie over regions; evenly over those with cells where nobody is placed yet."""
    shares: dict[RegionId, float] = {}
    for cell, share in cells.items():
        stated = policy.cells.get(cell)
        if stated is not None and share > 0:
            shares[stated.region] = shares.get(stated.region, 0.0) + share
    return shares or {stated.region: 1.0 for stated in policy.cells.values()}


def decoy(identifier: Identifier, drawing: Blinder, shares: Mapping[RegionId, float]) -> RegionId | None:
    """The region that this identifier's stranger gets; None where policy has no cells."""
    return heaviest(drawing.alias(identifier)[0], shares)


def own_region(homes: Sequence[Home], policy: Policy) -> RegionId | None:
    """The region of the one home that all answers agree on; None for strangers, and where nobody can say."""
    placed = [home for home in homes if isinstance(home, Placement) and home.state not in _GONE]
    if not placed or any(home.subject_id != placed[0].subject_id for home in placed):
        return None
    stated = policy.cells.get(max(placed, key=lambda home: home.epoch).cell)
    return None if stated is None else stated.region


def encode(region: RegionId, policy: Policy) -> bytes:
    """The answer's body, as long as that of every other region (JSON may end in blanks, RFC 8259 section 2)."""
    bodies = {name: msgspec.json.encode(Hint(name, stated.origin)) for name, stated in policy.regions.items()}
    return bodies[region].ljust(max(map(len, bodies.values())))
