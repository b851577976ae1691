"""What the ledger says was run, held against what Postgres says. Pure.

They are joined by the session in Postgres' own words, which is when its backend started and its process, and by the statement's text:
nothing that a session can set.
"""

from collections.abc import Collection, Sequence

import msgspec

from cells.breakglass.statements.csvlog import Line, Logged
from cells.breakglass.statements.history import History, Ran, Sat

SLACK_US = 2_000_000
"""At both ends of the time that Postgres' log spans: a statement recorded there may have been run, or not, beyond it."""


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A statement of the ledger. `session`: its id."""

    session: str
    number: int
    index: int
    at_us: int


class Reconciled(msgspec.Struct, frozen=True, kw_only=True):
    """`both`: in ledger and log. `unrecorded`: Postgres ran it, and the ledger does not have it. `missing`: the ledger says that it ended
    well, and Postgres' log, which spans that time, does not have it. `not_run`: recorded, and not run: refused, cut off, or no SQL.
    `beyond`: recorded at a time that the log does not span. `erased`: entries whose payload is not here; what they recorded counts as
    unrecorded."""

    both: int
    unrecorded: tuple[Line, ...]
    missing: tuple[Claimed, ...]
    not_run: int
    beyond: int
    erased: int

    @property
    def difference(self) -> int:
        return len(self.unrecorded) + len(self.missing)


def reconciled(told: History, logged: Logged, roles: Collection[str]) -> Reconciled:
    """`roles`: those that the door logs in as; whatever they run has to be in the ledger."""
    sessions = {sat.opened.backend: sat for sat in told.sessions}
    lines: dict[str, list[Line]] = {backend: [] for backend in sessions}
    for line in logged.statements:
        if line.user in roles or line.backend in sessions:
            lines.setdefault(line.backend, []).append(line)
    both, beyond, not_run = 0, 0, 0
    unrecorded, missing = list[Line](), list[Claimed]()
    for backend, ran in lines.items():
        sat = sessions.get(backend)
        matched, left, rest = _matched(ran, () if sat is None else sat.statements)
        both += matched
        unrecorded += left
        for one in rest:
            if not logged.from_us + SLACK_US <= one.at_us <= logged.until_us - SLACK_US:
                beyond += 1
            elif sat is not None and one.result is not None and one.result.tag and not one.result.withheld:
                missing.append(_claimed(sat, one))
            else:
                not_run += 1
    return Reconciled(
        both=both,
        unrecorded=tuple(unrecorded),
        missing=tuple(missing),
        not_run=not_run,
        beyond=beyond,
        erased=told.erased,
    )


def _matched(lines: Sequence[Line], statements: Sequence[Ran]) -> tuple[int, list[Line], list[Ran]]:
    """How many are in both; lines without a statement; statements without a line. One session's, each in its order."""
    rest, left = list(statements), list[Line]()
    for line in sorted(lines, key=lambda one: one.number):
        found = next((at for at, ran in enumerate(rest) if ran.kind == line.way and line.is_of(ran.text)), None)
        if found is None:
            left.append(line)
        else:
            del rest[found]
    return len(lines) - len(left), left, rest


def _claimed(sat: Sat, ran: Ran) -> Claimed:
    return Claimed(session=sat.opened.session, number=ran.number, index=ran.index, at_us=ran.at_us)
