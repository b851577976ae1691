"""`choose`: which of the allowed cells, and which of its shards, holds a subject. Pure.

Rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM Transactions on Networking
6(1), 1998) with weights by the logarithmic method (Schindelhauer and Schomaker, "Weighted distributed hash tables", SPAA 2005): each
candidate scores -weight / ln(u), u its own uniform number drawn from the subject id; the highest score wins. So a candidate wins in
proportion to its weight, and a new one takes only its own share, evenly from the others.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import TypeVar

from foundation.words import CellId, ShardId, SubjectId
from routing_rules.rules import Rules
from routing_rules.verdicts import Allowed

Name = TypeVar("Name", bound=str)


def choose(
    subject_id: SubjectId, allowed: Allowed, rules: Rules, *, among: frozenset[CellId] | None = None
) -> tuple[CellId, ShardId] | None:
    """The cell and shard for a subject: cells first, then the shards of that cell, each by weight. The same for the same input.

    `among` narrows to cells that take new subjects just now; None when that leaves none. It never widens what is allowed.
    """
    cells = rules.policy.cells
    weights = {name: cells[name].weight for name in allowed.cells if name in cells and (among is None or name in among)}
    cell = heaviest(subject_id, weights)
    if cell is None:
        return None
    shard = heaviest(f"{cell}/{subject_id}", {name: shard.weight for name, shard in cells[cell].shards.items()})
    return None if shard is None else (cell, shard)


def heaviest(key: str, weights: Mapping[Name, float]) -> Name | None:
    """Weighted rendezvous: the name with the highest score for `key`; None if there are no names. Weights are above 0."""
    return max(weights, key=lambda name: (_score(key, name, weights[name]), name), default=None)


def _score(key: str, name: str, weight: float) -> float:
    digest = hashlib.blake2b(f"{name}\0{key}".encode(errors="surrogatepass"), digest_size=8).digest()
    # 52 bits and a half keep u strictly inside (0, 1) in double precision, so the logarithm is finite and not zero.
    uniform = ((int.from_bytes(digest, "big") >> 12) + 0.5) / (1 << 52)
    return -weight / math.log(uniform)
