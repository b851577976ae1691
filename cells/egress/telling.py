"""What a cell says of its runs, those under way and those released: what the owner of a table is told, without anybody's key."""

from pathlib import Path
from typing import Any

import msgspec

from cells.egress.runs import Journal, journals
from cells.egress.sealing import report


class QuarantineTold(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a batch that is held back, and what was found in which field, how often."""

    shard: str
    rows: int
    found: dict[str, dict[str, int]]


class ReportTold(msgspec.Struct, frozen=True, kw_only=True):
    """`read`: rows of people who are active here. `stayed`: rows that did not go, by ground. `fields`: field → what became of its values →
    how many; what no contract names is under the field without a name. `unmade`: fields that could not be made, with the reason."""

    read: int
    rows: int
    stayed: dict[str, int]
    fields: dict[str, dict[str, int]]
    unmade: dict[str, str]
    held: tuple[QuarantineTold, ...]


class RunTold(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`state`: unfinished or sealed (both go on by the same command), released. `held`: rows in quarantine. `put`: files that lie at the
    sink of a run that is not released. `folder`: where the release is, or its parts lie. `report`: where one run is asked for."""

    id: str
    table: str
    to: str
    purpose: str
    format: str
    state: str
    rows: int
    held: int
    begun_at: float
    folder: str
    put: int
    report: ReportTold | None = None


class RunList(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first."""

    runs: tuple[RunTold, ...]


def reported(journal: Journal) -> dict[str, Any]:
    """The owner's report, with the keys of batches in quarantine: of a run under way, of what is durable. Raises SettingsError, OSError."""
    return journal.report() or msgspec.to_builtins(report(journal.parts()))


def told(journal: Journal, said: dict[str, Any]) -> RunTold:
    """`said`: its report. Raises SettingsError, OSError."""
    run = journal.run
    return RunTold(
        id=run.id,
        table=run.table,
        to=run.destination,
        purpose=run.purpose,
        format=run.format.value,
        state="released" if journal.released else "unfinished" if journal.sealed is None else "sealed",
        rows=said["rows"],
        held=sum(one["rows"] for one in said["held"]),
        begun_at=run.begun_at,
        folder=run.place if journal.released else str(journal.staging),
        put=sum(journal.put().values()),
    )


def newest(folder: Path, limit: int) -> RunList:
    """Raises SettingsError, OSError."""
    found = sorted(journals(folder), key=lambda one: one.run.begun_at, reverse=True)[:limit]
    return RunList(runs=tuple(told(one, reported(one)) for one in found))


def one_run(folder: Path, run_id: str) -> RunTold | None:
    """With its report; None where there is no such run. Raises SettingsError, OSError."""
    for journal in journals(folder):
        if journal.run.id == run_id:
            said = reported(journal)
            shape = msgspec.convert(said, ReportTold)
            return msgspec.structs.replace(told(journal, said), report=shape)
    return None
