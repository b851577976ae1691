"""What would open a refusal: which instruments are needed together, and which instead of one another. Pure."""

from collections.abc import Iterable

import msgspec

from foundation.words import JurisdictionId
from routing_rules.law.questions import Effect, Finding, Lack

_TRANSFER = "gateways"
_OPENS = frozenset((Effect.PERMITS, Effect.LACKS_EVIDENCE))


class Remedy(msgspec.Struct, frozen=True):
    """One of `ways`, for one regime and destination. Where they cover different `items`, as many of them as cover everything."""

    ways: tuple[Lack, ...]

    @property
    def alike(self) -> bool:
        return len({way.items for way in self.ways}) == 1


def remedies(finding: Finding) -> tuple[Remedy, ...]:
    """All of them are needed: each regime asks for itself, and so does each place that a storage rule is to be lifted for.

    None where instruments are not enough: something else forbids, or is not known.
    """
    return grouped(finding.lacks) if suffice(finding) else ()


def suffice(finding: Finding) -> bool:
    """Whether what is lacking is all that keeps the answer shut."""
    liftable = {lack.row for lack in finding.lacks}
    return all(reason.effect in _OPENS or reason.row in liftable for reason in finding.reasons)


def grouped(lacks: Iterable[Lack]) -> tuple[Remedy, ...]:
    """What is lacking, by who asks for it."""
    transfers: dict[tuple[JurisdictionId, JurisdictionId], list[Lack]] = {}
    lifting: list[Remedy] = []
    for lack in lacks:
        if lack.row.file == _TRANSFER:
            transfers.setdefault((lack.regime, lack.to), []).append(lack)
        else:
            lifting.append(Remedy((lack,)))
    return (*(Remedy(tuple(ways)) for ways in transfers.values()), *lifting)


def clause(remedy: Remedy) -> str:
    """`scc + impact_assessment or bcr from eu to us covering health`."""
    first = remedy.ways[0]
    road = f"from {first.regime} to {first.to}"
    if remedy.alike:
        return f"{' or '.join(_asked(way) for way in remedy.ways)} {road}{_covering(first)}"
    listed = ", ".join(f"{_asked(way)}{_covering(way) or ' for the data as such'}" for way in remedy.ways)
    return f"{road}, until everything is covered: {listed}"


def _asked(lack: Lack) -> str:
    return " + ".join(lack.requirements)


def _covering(lack: Lack) -> str:
    return f" covering {', '.join(lack.items)}" if lack.items else ""


def clauses(finding: Finding) -> str:
    """All remedies in one sentence; empty where there is none."""
    return "; and ".join(clause(one) for one in remedies(finding))
