"""The ledger's statements against Postgres' own log: the same, and every omission is found; files that are none are told."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from cells.breakglass.door.ports import Column
from cells.breakglass.statements import csvlog
from cells.breakglass.statements.csvlog import Logged, MalformedCsvlog
from cells.breakglass.statements.entries import AnySaid, Closed, Ended, Intended, Opened, Result
from cells.breakglass.statements.history import History, Kept, Scope, history
from cells.breakglass.statements.reconciling import reconciled
from tests.stands.access import AT, SUBJECT

ROLES = ("domicile_engineer",)
SECOND = 1_000_000
LATER = "2027-01-15 08:00:{:02}.000 UTC"
"""AT and seconds."""


def row(
    at: int, message: str, *, backend: str = "6b49d200.1267", user: str = ROLES[0], severity: str = "LOG"
) -> list[str]:
    fields = [""] * 26
    fields[0], fields[1], fields[5], fields[6] = LATER.format(at), user, backend, str(at)
    fields[11], fields[12], fields[13] = severity, "00000", message
    return fields


def written(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    path.write_text(out.getvalue(), encoding="utf-8")
    return path


def logged(folder: Path, *rows: Sequence[str]) -> Logged:
    return csvlog.read([written(folder / "postgres.csv", [row(0, "begins"), *rows, row(59, "ends")])])


def opened(session: str = "s", backend: str = "6b49d200.1267") -> Opened:
    return Opened(
        session=session, grant="g", certificate="c", purpose="debugging", ticket="OPS-7", shard="s1", inside=True,
        subjects=(SUBJECT,), until_us=AT, backend=backend,
    )  # fmt: skip


def intended(number: int, text: str, kind: str = "simple", session: str = "s") -> Intended:
    return Intended(session=session, number=number, kind=kind, text=text, parameters=(), subjects=(SUBJECT,))


def told(*said: AnySaid | None, at: int = 20) -> History:
    return history(Kept(index, AT + at * SECOND, "engineer:alice", one) for index, one in enumerate(said))


WELL = Ended(session="s", results=(Result(number=1, tag="SELECT 1"), Result(number=2, error="22012")))


def test_what_both_have_makes_no_difference(folder: Path) -> None:
    text = 'SELECT "a: b",\n  1 -- é'
    postgres = logged(
        folder,
        row(19, f"statement: {text}"),
        row(20, "execute s:1/p: SELECT 2"),
        row(21, "execute fetch from <unnamed>: SELECT 2"),
        row(22, "statement: SELECT 3", user="domicile_records", backend="6b49d200.9"),
    )
    ledger = told(
        opened(), intended(1, text), intended(2, "SELECT 2", "extended"), intended(3, "SELECT 2", "extended"), WELL
    )
    found = reconciled(ledger, postgres, ROLES)
    assert (found.both, found.difference, found.not_run, found.beyond) == (3, 0, 0, 0)


@pytest.mark.parametrize(
    ("message", "backend"),
    [
        ("statement: SELECT 2", "6b49d200.1267"),
        ("execute <unnamed>: SELECT 3", "6b49d200.1267"),
        ("statement: SELECT 1", "6b49d200.1267"),
        ("execute <unnamed>: SELECT 2 -- : SELECT 1", "6b49d200.1267"),
        ("execute s: SELECT 2 -- : SELECT 1", "6b49d200.1267"),
        ("execute fetch from s/p: SELECT 2 -- : SELECT 1", "6b49d200.1267"),
        ('fastpath function call: "lo_open" (OID 952)', "6b49d200.1267"),
        ("statement: SELECT 1", "6b49d200.1268"),
    ],
    ids=[
        *("another text", "another of the other way", "once more", "the same at its end", "at its end under a name"),
        *("at its end of a portal", "a call by message", "another session"),
    ],
)
def test_a_statement_that_the_ledger_does_not_have_is_found(folder: Path, message: str, backend: str) -> None:
    postgres = logged(folder, row(19, "statement: SELECT 1"), row(20, message, backend=backend))
    # The third is recorded, and did not run.
    ledger = told(opened(), intended(1, "SELECT 1"), intended(3, "SELECT 1", "extended"), WELL)
    found = reconciled(ledger, postgres, ROLES)
    assert (found.both, found.difference) == (1, 1)
    assert [(line.backend, line.message) for line in found.unrecorded] == [(backend, message)]


def test_what_ended_well_and_postgres_never_saw_is_found_where_its_log_spans_that_time(folder: Path) -> None:
    ledger = (opened(), intended(1, "SELECT 1"), intended(2, "SELECT 1/0"), intended(3, "SELEKT"), WELL)
    found = reconciled(told(*ledger), logged(folder), ROLES)
    assert [(one.number, one.index) for one in found.missing] == [(1, 1)]
    assert (found.not_run, found.beyond, found.difference) == (2, 0, 1)
    earlier = reconciled(told(*ledger, at=-100), logged(folder), ROLES)
    assert (earlier.difference, earlier.beyond) == (0, 3)


def test_an_erased_entry_is_told_and_its_statement_is_missed(folder: Path) -> None:
    found = reconciled(told(opened(), None), logged(folder, row(20, "statement: SELECT 1")), ROLES)
    assert (found.erased, len(found.unrecorded)) == (1, 1)


def test_a_session_is_put_together_from_entries_in_any_number() -> None:
    column = Column(name="email", table=7, attribute=2, source="live.orders.email", masked=True)
    said = (
        opened(),
        opened("t", "6b49d200.2"),
        intended(1, "SELECT 1"),
        Ended(session="s", results=(Result(number=1, tag="SELECT 1", columns=(column,)),)),
        Ended(session="s", results=(Result(number=1, tag="SELECT 1", columns=(column,)), Result(number=2, tag="X"))),
        Closed(session="s", why="terminated", statements=2),
        Closed(session="nobody", why="terminated", statements=0),
        None,
    )
    whole = told(*said)
    first, second = whole.sessions
    assert [(one.number, one.result and one.result.tag) for one in first.statements] == [(1, "SELECT 1")]
    assert [one.number for one in first.results] == [1, 2]
    assert (first.columns(), first.end and first.end.why, second.end) == ((column,), "terminated", None)
    assert (whole.erased, whole.strays) == (1, 1)


def test_a_history_has_what_its_scope_has_and_counts_no_others_as_strays() -> None:
    entries = [opened(), intended(1, "SELECT 1"), Closed(session="s", why="left", statements=1)]
    kept = [Kept(index, AT + index, "engineer:alice", one) for index, one in enumerate(entries)]
    for scope in (Scope(subject="x"), Scope(engineer="engineer:bob"), Scope(since_us=AT + 1)):
        assert history(kept, scope) == History(sessions=(), erased=0, strays=0)
    (sat,) = history(kept, Scope(subject=SUBJECT, engineer="engineer:alice", since_us=AT, texts=False)).sessions
    assert [(ran.number, ran.text) for ran in sat.statements] == [(1, "")]


def test_a_last_line_that_is_being_written_does_not_count_and_another_is_damage(folder: Path) -> None:
    whole = written(folder / "a.csv", [row(0, "begins"), row(1, "statement: SELECT 'x'\n")])
    raw = whole.read_bytes()
    for cut in range(len(raw) // 2 + 60, len(raw) - 1):
        (folder / "b.csv").write_bytes(raw[:cut])
        assert csvlog.read([folder / "b.csv"]).lines in (1, 2)
    (folder / "b.csv").write_bytes(raw[:-40])
    with pytest.raises(MalformedCsvlog, match=r"b\.csv, line"):
        csvlog.read([folder / "b.csv", whole])


def test_files_that_are_no_log_are_told(folder: Path) -> None:
    with pytest.raises(MalformedCsvlog, match="logging_collector"):
        csvlog.files_in([folder])
    (folder / "stderr.log").write_text("2026-11-27 LOG:  statement: SELECT 1\nmore\n")
    with pytest.raises(MalformedCsvlog, match="fields"):
        csvlog.read([folder / "stderr.log"])
    berlin = row(1, "statement: SELECT 1")
    berlin[0] = "2026-11-27 10:00:00.000 CET"
    with pytest.raises(MalformedCsvlog, match="log_timezone"):
        csvlog.read([written(folder / "zone.csv", [berlin])])
    (folder / "latin.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(MalformedCsvlog, match="UTF-8"):
        csvlog.read([folder / "latin.csv"])
