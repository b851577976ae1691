"""`place`: which cells may hold a new subject; `choose`: which of them does. Pure; `place` is total.

`choose` is rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM Transactions on
Networking 6(1), 1998) with weights by the logarithmic method (Schindelhauer and Schomaker, "Weighted distributed hash tables", SPAA
2005): each candidate scores -weight / ln(u), u its own uniform number drawn from the subject id; the highest score wins. So a candidate
wins in proportion to its weight, and a new one takes only its own share, evenly from the others.
"""

import datetime
import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import TypeVar

from foundation.problems import Code
from foundation.words import CellId, ServiceId, ShardId, SubjectId
from routing_rules.facts import PlaceFacts
from routing_rules.mistakes import shown
from routing_rules.pack import Jurisdiction
from routing_rules.policy import Policy
from routing_rules.regimes import Standing, cited, covers, of_country, open_questions
from routing_rules.rules import Rules
from routing_rules.verdicts import Allowed, NoCell

Name = TypeVar("Name", bound=str)


def place(facts: PlaceFacts, rules: Rules, at: datetime.date) -> Allowed | NoCell:
    """The cells that may hold a person of this residence on day `at`. Never raises, never guesses."""
    standing = of_country(facts.subject.residence, rules, at)
    why = _unknown(facts, standing, rules.policy)
    row = standing.row
    if why is not None or row is None:
        return _no_cell(
            why or "unknown: no row", "The rules do not know this case, and what is unknown is refused", standing, rules
        )
    served = serving(row, rules.policy)
    if not served:
        return _no_cell(f"{cited(row)}: no cell serves {row.id}", "No cell serves this jurisdiction", standing, rules)
    cells = tuple(cell for cell in served if hosting(cell, facts.services, rules.policy))
    if not cells:
        ground = f"{cited(row)}: none of {', '.join(served)} runs all of {', '.join(facts.services)}"
        return _no_cell(ground, "The services do not all run in a cell that serves this jurisdiction", standing, rules)
    return Allowed(
        regimes=(row.id,),
        cells=cells,
        ground=f"{cited(row)}: {row.id} is served by {', '.join(cells)}",
        valid_until=standing.changes,
        digest=rules.digest,
    )


def serving(row: Jurisdiction, policy: Policy) -> tuple[CellId, ...]:
    return tuple(sorted(name for name, cell in policy.cells.items() if covers(cell, row)))


def hosting(cell: CellId, services: Iterable[ServiceId], policy: Policy) -> bool:
    """Does the cell run every one of these services (all declared in policy)?"""
    return all(policy.services[service].hosts.get(cell) for service in services)


def _unknown(facts: PlaceFacts, standing: Standing, policy: Policy) -> str | None:
    """Why the case is not known, or None."""
    if standing.unknown is not None:
        return standing.unknown
    if not facts.services:
        return "unknown: the placement is made for no service"
    missing = [service for service in facts.services if service not in policy.services]
    if missing:
        return f"unknown: policy declares no service {shown(missing[0])}"
    needed = [tag for service in facts.services for tag in policy.services[service].tags]
    return open_questions((*facts.subject.tags, *needed), facts.subject.terms)


def _no_cell(ground: str, detail: str, standing: Standing, rules: Rules) -> NoCell:
    return NoCell(
        code=Code.NO_CELL_ALLOWED, detail=detail, ground=ground, valid_until=standing.changes, digest=rules.digest
    )


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
