"""`choose`: which of the allowed cells, and which of its shards, holds a subject. Pure.

Rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM Transactions on Networking
6(1), 1998) with weights by the logarithmic method (Schindelhauer and Schomaker, "Weighted distributed hash tables", SPAA 2005): each
candidate scores -weight / ln(u), u its own uniform number drawn from the subject id; the highest score wins. So a candidate wins in
proportion to its weight, and a new one takes only its own share, evenly from the others.
"""

import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias, TypeVar

import msgspec

from foundation.words import CellId, ShardId, SubjectId
from routing_rules.policy import Cell
from routing_rules.rules import Rules
from routing_rules.verdicts import Allowed

Name = TypeVar("Name", bound=str)
Shares: TypeAlias = Mapping[tuple[CellId, ShardId | None], float]
"""Weights that hold instead of policy's, by cell (and shard, None: the cell itself); 0: takes no new subject just now."""
_POLICYS: Shares = MappingProxyType({})
_UNIT = 1 / (1 << 52)
"""52 bits and a half keep a drawn number strictly inside (0, 1) in double precision, so that its logarithm is finite and not zero."""


def choose(
    subject_id: SubjectId,
    allowed: Allowed,
    rules: Rules,
    *,
    among: frozenset[CellId] | None = None,
    shares: Shares = _POLICYS,
) -> tuple[CellId, ShardId] | None:
    """The cell and shard for a subject: cells first, then the shards of that cell, each by weight. The same for the same input.

    `among` narrows to cells that the caller may place in, `shares` to those that take new subjects just now; None when that leaves
    none. Neither ever widens what is allowed.
    """
    return candidates(allowed, rules, among=among, shares=shares).choose(subject_id)


class Candidates(msgspec.Struct, frozen=True):
    """Who may be chosen: `cells` with their weights, each with the weights of its `shards`. The same for everybody of the same facts."""

    cells: dict[CellId, float]
    shards: dict[CellId, dict[ShardId, float]]

    def choose(self, subject_id: SubjectId) -> tuple[CellId, ShardId] | None:
        """None where there is no cell. Who is the only one is taken without drawing."""
        cell = next(iter(self.cells)) if len(self.cells) == 1 else heaviest(subject_id, self.cells)
        if cell is None:
            return None
        shard = heaviest(f"{cell}/{subject_id}", self.shards[cell])
        return None if shard is None else (cell, shard)

    def choose_all(self, subject_ids: Sequence[SubjectId]) -> dict[tuple[CellId, ShardId], list[int]]:
        """The same for many: which of them, by their places in `subject_ids`, go where. There is a cell."""
        found: dict[tuple[CellId, ShardId], list[int]] = {}
        ids = [one.encode("ascii") for one in subject_ids]
        for cell, of_cell in _shared(b"", ids, range(len(ids)), self.cells).items():
            head = f"{cell}/".encode()
            for shard, of_shard in _shared(head, ids, of_cell, self.shards[cell]).items():
                found[cell, shard] = of_shard
        return found


def candidates(
    allowed: Allowed, rules: Rules, *, among: frozenset[CellId] | None = None, shares: Shares = _POLICYS
) -> Candidates:
    """Of the allowed cells those that take new subjects, with their shards that do."""
    cells = rules.policy.cells
    shards = {
        name: open_shards(name, cells[name], shares)
        for name in allowed.cells
        if name in cells and (among is None or name in among)
    }
    weights = {name: shares.get((name, None), cells[name].weight) for name, taking in shards.items() if taking}
    return Candidates({name: weight for name, weight in weights.items() if weight > 0}, shards)


def open_shards(name: CellId, cell: Cell, shares: Shares) -> dict[ShardId, float]:
    """A cell's shards that take new subjects, with their weights."""
    found = {shard: shares.get((name, shard), stated.weight) for shard, stated in cell.shards.items()}
    return {shard: weight for shard, weight in found.items() if weight > 0}


def heaviest(key: str, weights: Mapping[Name, float]) -> Name | None:
    """Weighted rendezvous: the name with the highest score for `key`; None if there are no names. Weights are above 0."""
    return max(weights, key=lambda name: (_score(key, name, weights[name]), name), default=None)


def _shared(
    head: bytes, ids: Sequence[bytes], places: Sequence[int], weights: Mapping[Name, float]
) -> dict[Name, list[int]]:
    """Which of `places` each name wins: `heaviest` of `head` and the id that stands there."""
    if len(weights) == 1:
        return {name: list(places) for name in weights}
    names = sorted(weights, reverse=True)  # of equals the first is taken, as by `heaviest` the last by name
    scores: list[Sequence[float]] = [
        _drawn(f"{name}\0".encode(errors="surrogatepass") + head, ids, places) for name in names
    ]
    if len(set(weights.values())) > 1:  # scores of one weight are in the order of what was drawn
        scores = [_weighted(drawn, weights[name]) for name, drawn in zip(names, scores, strict=True)]
    won: dict[Name, list[int]] = {name: [] for name in names}
    of_names = [won[name] for name in names]
    if len(names) == 2:
        for place, one, other in zip(places, *scores, strict=True):
            of_names[one < other].append(place)
    else:
        for place, row in zip(places, zip(*scores, strict=True), strict=True):
            of_names[row.index(max(row))].append(place)
    return {name: found for name, found in won.items() if found}


def _drawn(head: bytes, ids: Sequence[bytes], places: Sequence[int]) -> list[int]:
    begun = hashlib.blake2b(head, digest_size=8)
    digests = []
    for place in places:
        digest = begun.copy()
        digest.update(ids[place])
        digests.append(digest.digest())
    return [one >> 12 for one in struct.unpack(f">{len(places)}Q", b"".join(digests))]


def _weighted(drawn: Sequence[float], weight: float) -> list[float]:
    uniform = [(one + 0.5) * _UNIT for one in drawn]
    return [-weight / one for one in map(math.log, uniform)]


def _score(key: str, name: str, weight: float) -> float:
    digest = hashlib.blake2b(f"{name}\0{key}".encode(errors="surrogatepass"), digest_size=8).digest()
    return -weight / math.log(((int.from_bytes(digest, "big") >> 12) + 0.5) * _UNIT)
