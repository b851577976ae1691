"""Whether a row counts on a day, and on which days that changes. docs/evaluation.md, section 1."""

import datetime
from collections.abc import Iterable
from typing import Protocol, TypeAlias, TypeVar

from routing_rules.pack.rows import Fact, Status
from routing_rules.policy import Profile

F = TypeVar("F", bound=Fact)
Turn: TypeAlias = tuple[datetime.date, str | None]
"""A day on which something starts or stops to count, and the destination that it speaks of; None: all of them."""

_DAY = datetime.timedelta(days=1)


class Dated(Protocol):
    """A row, or an instrument."""

    @property
    def since(self) -> datetime.date | None: ...
    @property
    def until(self) -> datetime.date | None: ...


def eligible(rows: Iterable[F], profile: Profile) -> tuple[F, ...]:
    """Those that count on some day under this profile; on which, `holds` says."""
    return tuple(row for row in rows if _may_count(row, profile))


def _may_count(row: Fact, profile: Profile) -> bool:
    if row.since is None or row.profile not in ("both", profile) or row.status is Status.PROMISED:
        return False
    return row.status is not Status.DISPUTED or not row.permits


def holds(row: Dated, at: datetime.date) -> bool:
    """Is the day among those from `since` to `until`? Only of eligible rows, and of instruments."""
    since = row.since
    if since is None or since > at:
        return False
    until = row.until
    return until is None or at <= until


def counts(row: Fact, profile: Profile, at: datetime.date) -> bool:
    return _may_count(row, profile) and holds(row, at)


def turning_days(row: Dated) -> tuple[datetime.date, ...]:
    """The first day on which it holds, and the first on which it holds no more."""
    if row.since is None:
        return ()
    if row.until is None or row.until == datetime.date.max:
        return (row.since,)
    return (row.since, row.until + _DAY)


def turns(rows: Iterable[Dated], towards: str | None = None) -> list[Turn]:
    return [(day, towards) for row in rows for day in turning_days(row)]


def first_after(days: Iterable[datetime.date | None], at: datetime.date) -> datetime.date | None:
    return min((day for day in days if day is not None and day > at), default=None)
