"""A log's way into a file: every entry, in order, over kills, rotations and erasures; and what settings may not ask for."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from foundation.ledger.export import position, taking
from foundation.ledger.export.following import Follower
from foundation.ledger.export.forms import Form, Format
from foundation.ledger.export.position import Position, SinkRefused
from foundation.ledger.export.settings import ExportSettings, abroad, checked
from foundation.ledger.export.sinks import FileSink, rotated
from foundation.ledger.export.taking import Batch, batches, openings_in
from foundation.ledger.log import Log
from foundation.settings import SettingsError
from tests.stands.ledger import SIGNER, reader, rows, unsynced, written

pytestmark = pytest.mark.anyio

ORIGIN = SIGNER.verifier.name
ADA = "0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77"
ENTRIES = Form(Format.ENTRIES, True, ORIGIN, "0.1.0")


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)


def follower(
    log: Path, out: Path, form: Form = ENTRIES, *, rotate_bytes: int = 1 << 30, keep: int = 4, since: int = 0
) -> Follower:
    sink = FileSink(out, ORIGIN, rotate_bytes=rotate_bytes, keep=keep)
    return Follower("test", log, SIGNER.verifier, form, sink, since=since)


async def drained(one: Follower) -> None:
    while await one.once():
        pass


def told(out: Path) -> Iterator[int]:
    """Indexes in the files of a sink, in order."""
    for path in [*rotated(out), *([out] if out.exists() else [])]:
        for text in path.read_text().splitlines():
            yield json.loads(text)["index"]


async def test_every_entry_that_is_signed_for_is_in_the_file_once_and_in_order(tmp_path: Path) -> None:
    written(tmp_path / "log", 300, 212, 88)
    one = follower(tmp_path / "log", tmp_path / "out")
    await drained(one)
    assert list(told(tmp_path / "out")) == list(range(600))
    first = json.loads((tmp_path / "out").read_text().splitlines()[0])
    assert (first["payload"]["id"], first["payload"]["details"]) == ("event:1", {"n": 1})
    with Log(tmp_path / "log", SIGNER) as log:
        log.append({"s1": rows(601, 5)})
        await drained(one)
        assert len(list(told(tmp_path / "out"))) == 600, "what is not signed for is not given out"
        log.publish()
    await drained(one)
    await drained(follower(tmp_path / "log", tmp_path / "out"))
    assert list(told(tmp_path / "out")) == list(range(605))


async def test_a_log_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    one = follower(tmp_path / "log", tmp_path / "out")
    assert not await one.once()
    written(tmp_path / "log", 3)
    await drained(one)
    assert list(told(tmp_path / "out")) == [0, 1, 2]


async def test_without_payloads_nothing_of_one_is_in_the_file(tmp_path: Path) -> None:
    written(tmp_path / "log", 10)
    for form in (Format.OCSF, Format.ENTRIES):
        await drained(follower(tmp_path / "log", tmp_path / form, ENTRIES._replace(format=form, payloads=False)))
        text = (tmp_path / form).read_text()
        assert len(text.splitlines()) == 10
        assert "operator:test" not in text
        assert "event:" not in text


async def test_an_erased_payload_holds_nothing_up(tmp_path: Path) -> None:
    written(tmp_path / "log", 300)
    with Log(tmp_path / "log", SIGNER) as log:
        assert log.erase(2)
        assert log.erase(299)
    await drained(follower(tmp_path / "log", tmp_path / "out"))
    lines = [json.loads(text) for text in (tmp_path / "out").read_text().splitlines()]
    assert [line["index"] for line in lines if "payload" not in line] == [2, 299]


async def test_a_batch_is_bounded_in_bytes_and_has_one_entry_at_least(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "log", 20)
    monkeypatch.setattr(taking, "BATCH_BYTES_MAX", 1)
    found = list(batches(reader(tmp_path / "log"), ENTRIES, openings_in(tmp_path / "log"), 5))
    assert [(one.first, len(one.lines), one.following) for one in found] == [(at, 1, at + 1) for at in range(5, 20)]


async def test_a_file_gives_way_at_its_size_and_the_newest_are_kept(tmp_path: Path) -> None:
    written(tmp_path / "log", 256 * 4)
    await drained(follower(tmp_path / "log", tmp_path / "out", rotate_bytes=1, keep=2))
    assert [path.name for path in rotated(tmp_path / "out")] == ["out.000000000000768", "out.000000000001024"]
    assert list(told(tmp_path / "out")) == list(range(512, 1024))
    assert position.read(tmp_path / "out.position", ORIGIN) == 1024


async def test_a_line_that_a_crash_cut_short_is_written_again_whole(tmp_path: Path) -> None:
    written(tmp_path / "log", 256 + 40)
    one = follower(tmp_path / "log", tmp_path / "out")
    await one.once()
    whole = (tmp_path / "out").read_bytes()
    for torn in (b"{", b'{"index":256,', b'{"index":' + b"9" * 70_000):
        (tmp_path / "out").write_bytes(whole + torn)
        position.write(tmp_path / "out.position", Position(ORIGIN, 256))
        await drained(follower(tmp_path / "log", tmp_path / "out"))
        assert list(told(tmp_path / "out")) == list(range(296))
    (tmp_path / "out").write_bytes(b"torn, and no line before it")
    position.write(tmp_path / "out.position", Position(ORIGIN, 256))
    await drained(follower(tmp_path / "log", tmp_path / "out"))
    assert list(told(tmp_path / "out")) == list(range(256, 296))


async def test_killed_between_the_lines_and_the_position_entries_are_there_twice_and_never_missing(
    tmp_path: Path,
) -> None:
    written(tmp_path / "log", 300)
    one = follower(tmp_path / "log", tmp_path / "out")
    await one.once()
    position.write(tmp_path / "out.position", Position(ORIGIN, 0))
    await drained(follower(tmp_path / "log", tmp_path / "out"))
    assert list(told(tmp_path / "out")) == [*range(256), *range(300)]


async def test_a_file_that_is_somebody_elses_is_left_as_it_is(tmp_path: Path) -> None:
    written(tmp_path / "log", 3)
    (tmp_path / "out").write_text("somebody's line, and no end of it")
    with pytest.raises(SinkRefused):
        await follower(tmp_path / "log", tmp_path / "out").once()
    assert (tmp_path / "out").read_text() == "somebody's line, and no end of it"
    (tmp_path / "out").write_text("")
    await drained(follower(tmp_path / "log", tmp_path / "out"))
    assert list(told(tmp_path / "out")) == [0, 1, 2]


async def test_a_sink_of_another_log_is_left_alone(tmp_path: Path) -> None:
    written(tmp_path / "log", 3)
    position.write(tmp_path / "out.position", Position("ledger.test/other", 1))
    with pytest.raises(SinkRefused):
        await follower(tmp_path / "log", tmp_path / "out").once()
    (tmp_path / "out.position").write_text("{}")
    with pytest.raises(SinkRefused):
        await follower(tmp_path / "log", tmp_path / "out").once()
    assert not (tmp_path / "out").exists()


async def test_a_new_sink_begins_where_it_is_told_to_and_goes_on_where_it_stood(tmp_path: Path) -> None:
    written(tmp_path / "log", 300)
    await drained(follower(tmp_path / "log", tmp_path / "out", since=290))
    assert list(told(tmp_path / "out")) == list(range(290, 300))
    await drained(follower(tmp_path / "log", tmp_path / "out", since=0))
    assert list(told(tmp_path / "out")) == list(range(290, 300))


async def test_a_full_disk_moves_no_position_and_leaves_nothing_out(tmp_path: Path) -> None:
    written(tmp_path / "log", 3)
    (tmp_path / "out").symlink_to("/dev/full")
    one = follower(tmp_path / "log", tmp_path / "out")
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            await one.once()
        assert position.read(tmp_path / "out.position", ORIGIN) == 0
    (tmp_path / "out").unlink()
    await drained(one)
    assert list(told(tmp_path / "out")) == [0, 1, 2]


async def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "no/out", ORIGIN, rotate_bytes=1, keep=1)
    with pytest.raises(SinkRefused, match="no folder"):
        await sink.take(Batch(0, [b"{}\n"], 1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"name": "Siem"}, "lower-case"),
        ({"name": "siem"}, "either file or url"),
        ({"name": "siem", "file": "a", "url": "https://b"}, "either file or url"),
        ({"name": "siem", "url": "siem.internal"}, "an address"),
        ({"name": "siem", "url": "https://u:p@siem.internal"}, "an address"),
        ({"name": "siem", "file": "a", "token_file": "b"}, "go with url"),
        ({"name": "siem", "file": "a", "signing_file": "b"}, "go with url"),
        ({"name": "told", "url": "https://a", "format": Format.NOTICES}, "country"),
        ({"name": "told", "file": "a", "format": Format.NOTICES, "subjects": ("ada",)}, "a UUID"),
        ({"name": "siem", "file": "a", "subjects": (ADA,)}, "format notices"),
        ({"name": "siem", "url": "https://a", "signing_file": "/nowhere"}, "cannot be read"),
        ({"name": "siem", "url": "https://siem.internal", "payloads": True}, "country"),
        ({"name": "siem", "file": "a", "keep": 0}, "keep"),
        ({"name": "siem", "file": "a", "since": -1}, "since"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_words(settings: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        checked([ExportSettings(**settings)])  # type: ignore[arg-type]


def test_two_exports_share_neither_name_nor_file() -> None:
    one = ExportSettings(name="a", file="x")
    for other in (ExportSettings(name="a", file="y"), ExportSettings(name="b", file="./x")):
        with pytest.raises(SettingsError, match="of its own"):
            checked([one, other])
    checked([one, ExportSettings(name="b", file="y"), ExportSettings(name="c", url="https://siem.internal/in")])


def test_payloads_and_notices_go_to_no_other_country() -> None:
    home = ExportSettings(name="home", url="https://a", payloads=True, country="DE")
    away = ExportSettings(name="away", url="https://b", payloads=True, country="US")
    bare = ExportSettings(name="bare", url="https://c", country="US")
    file = ExportSettings(name="file", file="d", payloads=True)
    told = ExportSettings(name="told", url="https://e", format=Format.NOTICES, country="US")
    assert abroad([home, away, bare, file, told], {"DE"}) == [away, told]
