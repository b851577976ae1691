"""What stands beside what should: homes and fences. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from load_tests.oracle.ledger import SignedUp
from load_tests.oracle.violations import Kind, Violation
from load_tests.sweep.found import Found


def homes(found: Found, subjects: Mapping[str, SignedUp]) -> Iterator[Violation]:
    """Every row of the subjects stands on the shard that the directory names, and every fence is as the directory says."""
    placed = {one.subject: one for one in found.placed}
    for row in found.rows:
        home = placed.get(row.subject)
        if row.subject not in subjects or (home is not None and (home.cell, home.shard) == (row.cell, row.shard)):
            continue
        yield Violation(
            kind=Kind.ROW_ABROAD,
            words=f"{row.table} {row.id} of {row.subject} in {row.cell}/{row.shard}, home {_place(home)}",
        )
    for subject, person in subjects.items():
        home = placed.get(subject)
        if home is None or home.cell != person.cell:
            yield Violation(
                kind=Kind.WRONG_CELL, words=f"{subject}: told {person.cell}, the directory says {_place(home)}"
            )
    yield from _fences(found, subjects)
    for subject, place in found.closing:
        if subject in subjects:
            yield Violation(kind=Kind.CUT_NOT_ENDED, words=f"{subject} in {place}")


def _place(home: object) -> str:
    return "nowhere" if home is None else f"{getattr(home, 'cell', '?')}/{getattr(home, 'shard', '?')}"


def _fences(found: Found, subjects: Mapping[str, SignedUp]) -> Iterator[Violation]:
    fences: dict[str, set[tuple[str, str, int, str]]] = defaultdict(set)
    for fence in found.fences:
        if fence.state not in ("moved", "erased"):
            fences[fence.subject].add((fence.cell, fence.shard, fence.epoch, fence.state))
    for one in found.placed:
        if one.subject in subjects and fences[one.subject] != {(one.cell, one.shard, one.epoch, one.state)}:
            stands = sorted(fences[one.subject]) or "no fence"
            yield Violation(
                kind=Kind.FENCE_DIFFERS,
                words=f"{one.subject}: the directory says {one.cell}/{one.shard} {one.epoch} {one.state}, there is {stands}",
            )
