"""What an import keeps beside its file: refused rows are told once, wherever a run broke off."""

from pathlib import Path

import pytest

from directory.bulk.answers import BatchAnswer
from foundation.settings import SettingsError
from foundation.words import FeedSeq
from gateway.cli.directory.progress import Progress, keep, refusals, taken_up, told_in
from gateway.cli.directory.rows import Malformed, Taken


def take(progress: Progress, told_bytes: int, *, rows: int = 10) -> None:
    answer = BatchAnswer(number=0, placed=rows, known=0, refused=(), cells={}, as_of=FeedSeq(1))
    progress.take(Taken(rows, None, [Malformed(3, "test")], "digest"), answer, told_bytes)


def test_a_run_that_goes_on_writes_anew_what_was_told_and_not_kept(tmp_path: Path) -> None:
    told, kept = tmp_path / "told.ndjson", tmp_path / "kept.json"
    told.write_text("of another import\n")
    progress = taken_up(kept, "options")
    with refusals(told, progress) as opened:
        opened.write(b"one\n")
        take(progress, opened.tell())
        keep(kept, progress)
        opened.write(b"two, and the power fails\n")
    progress = taken_up(kept, "options")
    assert (progress.rows, progress.refused) == (10, 1)
    with refusals(told, progress) as opened:
        opened.write(b"two\n")
    assert told.read_text() == "one\ntwo\n"


def test_a_file_that_was_taken_away_is_begun_anew_and_another_one_is_added_to(tmp_path: Path) -> None:
    told, other = tmp_path / "told.ndjson", tmp_path / "other.ndjson"
    progress = Progress("options")
    with refusals(told, progress) as opened:
        opened.write(b"one\n")
        take(progress, opened.tell())
    told.unlink()
    with refusals(told, progress) as opened:
        opened.write(b"two\n")
    assert told.read_text() == "two\n"
    other.write_text("mine\n")
    with refusals(other, progress) as opened:
        opened.write(b"three\n")
    assert other.read_text() == "mine\nthree\n"


def test_a_dry_run_never_tells_where_the_import_itself_does(tmp_path: Path) -> None:
    file = tmp_path / "users.csv"
    for named in (None, tmp_path / "mine.ndjson", tmp_path / "mine"):
        assert told_in(file, named, dry_run=True) != told_in(file, named, dry_run=False)
    assert told_in(file, None, dry_run=True).name == "users.csv.errors.dry-run.ndjson"


def test_progress_that_cannot_be_gone_on_with_says_what_to_do(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    keep(kept, Progress("others"))
    with pytest.raises(SettingsError, match=r"other options; remove kept\.json"):
        taken_up(kept, "options")
    kept.write_text('{"source": "of the version before", "rows": 3}')
    with pytest.raises(SettingsError, match=r"cannot be read; remove kept\.json"):
        taken_up(kept, "options")
