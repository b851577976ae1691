"""A release from its first page to its name: whole or not there, once, in every format; and what becomes of it when something gives way."""

import csv
import errno
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from cells.egress import formats, release
from cells.egress import settings as egress_settings
from cells.egress.formats import Format
from cells.egress.manifest import MANIFEST, SIGNATURE, ManifestRefused
from cells.egress.release import ReleaseRefused
from cells.egress.runs import HeldBatch, Journal, Run, journals, taken_up
from cells.egress.settings import EgressSettings
from cells.egress.shapes import Columns
from cells.egress.sinks import sink_of
from cells.egress.treating import Treater
from cells.egress.verify import Shown, verify
from foundation.ledger import payloads
from foundation.ledger.entries import Recorded
from foundation.ledger.log import Log
from foundation.ledger.notes import Signer
from foundation.mute import Secret
from foundation.settings import SettingsError
from foundation.words import ShardId
from routing_rules.release import Consent
from tests.stands.egress import SIGNER, Found, Killed, MemoryWorld, journal_of, row, rules, run_of, treater
from tests.stands.ledger import SIGNER as SIGNED_BY
from tests.stands.ledger import reader, rows

pytestmark = pytest.mark.anyio
PLANTED = "planted-7f3a@leak.example"
RULES = rules()


def world(rows: int = 45, **more: Any) -> MemoryWorld:
    """Two shards; the planted value stands in every column that may not leave as it is."""
    planted = {"note": PLANTED, "card": PLANTED, "shadow": PLANTED, "extra": json.dumps({"mail": PLANTED, PLANTED: 1})}
    made = [row(number, **planted) for number in range(1, rows + 1)]
    half = rows // 2
    return MemoryWorld({ShardId("s1"): made[:half], ShardId("s2"): made[half:]}, held=RULES, **more)


def released_by(
    folder: Path, made: MemoryWorld, *, run: Run | None = None, treats: Treater | None = None
) -> "Releasing":
    stated = run or run_of(folder, held=RULES)
    held = Journal(folder / "runs" / stated.id)
    return Releasing(held if held.folder.exists() else journal_of(folder, stated), made, treats or treater(held=RULES))


class Releasing:
    """A run of which every call is a process of its own: it knows only what lies in the folder."""

    def __init__(self, journal: Journal, made: MemoryWorld, treats: Treater) -> None:
        self.journal, self._world, self._treats = journal, made, treats

    async def __call__(self) -> Path:
        sink = sink_of(self.journal.run.out, {})
        return Path(await release.run(self.journal, self._treats, self._world.world(), sink, part_rows=10))


def items(folder: Path) -> list[Any]:
    """What was released, in order."""
    return items_in(folder, Format.NDJSON)


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_a_release_is_a_folder_of_parts_with_a_signed_manifest_that_verifies_offline(folder: Path) -> None:
    made = world()
    path = await released_by(folder, made)()
    assert path == folder / "out" / "rel-1"
    assert items(path) == [f"item {number}" for number in range(1, 46)]
    found = verify(path, SIGNER.verifier)
    assert (found.rows, found.document["rows"]["released"]) == (45, 45)
    document = found.document
    assert document["rules"] == RULES.digest
    assert document["duties"]
    assert any("scc" in ground for ground in document["ground"])
    assert document["counts"]["email"] == {"passed": 45}
    assert document["counts"]["illness"] == {"dropped:law": 45}
    assert [event.id for event in made.recorded] == [document["event"]]
    assert made.recorded[0].details["rows"] == 45


async def test_the_lineage_facet_says_for_each_column_what_it_comes_from_and_whether_it_is_masked(folder: Path) -> None:
    await released_by(folder, world())()
    fields = json.loads((folder / "out" / "rel-1" / MANIFEST).read_bytes())["lineage"]["fields"]
    (source,) = fields["email"]["inputFields"]
    assert (source["namespace"], source["name"], source["field"]) == ("domicile://eu-de", "product.people", "email")
    assert source["transformations"] == [
        {"type": "DIRECT", "subtype": "TRANSFORMATION", "description": "mask_domain", "masking": True}
    ]
    assert fields["item"]["inputFields"][0]["transformations"][0]["masking"] is False
    assert "illness" not in fields


async def test_the_lineage_facet_has_what_openlineages_schema_requires(folder: Path) -> None:
    """https://openlineage.io/spec/facets/1-2-0/ColumnLineageDatasetFacet.json, and of every facet a producer and its schema."""
    await released_by(folder, world())()
    facet = json.loads((folder / "out" / "rel-1" / MANIFEST).read_bytes())["lineage"]
    assert (urlsplit(facet["_producer"]).scheme, urlsplit(facet["_schemaURL"]).scheme) == ("urn", "https")  # URIs, both
    assert facet["fields"]
    for field in facet["fields"].values():
        for source in field["inputFields"]:
            assert all(isinstance(source[name], str) for name in ("namespace", "name", "field"))
            for one in source["transformations"]:
                assert one["type"] in {"DIRECT", "INDIRECT"}
                assert (type(one["subtype"]), type(one["description"]), type(one["masking"])) == (str, str, bool)


@pytest.mark.parametrize("format_", list(Format))
async def test_a_planted_value_leaves_in_no_format_and_the_rows_are_the_same_in_each(
    folder: Path, format_: Format
) -> None:
    path = await released_by(folder, world(), run=run_of(folder, format_=format_, held=RULES))()
    assert items_in(path, format_) == [f"item {number}" for number in range(1, 46)]
    # Parquet is compressed: what it holds is looked for in what is read from it, too.
    held = everything_in(path) + repr(rows_in(path, format_)).encode()
    assert PLANTED.encode() not in held
    assert b"ann1@" not in held
    assert b"mail.example.com" in held
    assert verify(path, SIGNER.verifier).rows == 45


def items_in(path: Path, format_: Format) -> list[Any]:
    return [one["item"] for one in rows_in(path, format_)]


def rows_in(path: Path, format_: Format) -> list[dict[str, Any]]:
    """As somebody reads them who has the files alone."""
    parts = sorted(path.glob("part-*"))
    match format_:
        case Format.NDJSON:
            return [json.loads(line) for part in parts for line in part.read_text().splitlines()]
        case Format.CSV:
            texts = [io.StringIO(part.read_bytes().decode(), newline="") for part in parts]
            return [one for text in texts for one in csv.DictReader(text)]
        case Format.ARROW:
            pa = pytest.importorskip("pyarrow")
            return [
                one
                for part in parts
                for one in pa.ipc.open_file(pa.py_buffer(part.read_bytes())).read_all().to_pylist()
            ]
        case Format.PARQUET:
            pq = pytest.importorskip("pyarrow.parquet")
            return [one for part in parts for one in pq.ParquetFile(part).read().to_pylist()]


@pytest.mark.parametrize("pages", [0, 1, 2, 3, 4])
async def test_a_run_that_was_killed_goes_on_and_every_row_is_released_once(folder: Path, pages: int) -> None:
    made = world(pages_until_death=pages)
    with pytest.raises(Killed):
        await released_by(folder, made)()
    assert not (folder / "out" / "rel-1").exists()
    made.pages_until_death = None
    path = await released_by(folder, made)()
    assert items(path) == [f"item {number}" for number in range(1, 46)]
    assert verify(path, SIGNER.verifier).rows == 45
    assert [one.name for one in (folder / "out").iterdir()] == ["rel-1"]


async def test_a_release_that_nobody_could_record_has_no_name_and_gets_it_once_it_is(folder: Path) -> None:
    made = world(ledger_is_away=True)
    with pytest.raises(ConnectionError):
        await released_by(folder, made)()
    assert not (folder / "out" / "rel-1").exists()
    made.ledger_is_away = False
    path = await released_by(folder, made)()
    assert len(made.recorded) == 1
    assert await released_by(folder, made)() == path
    assert len(made.recorded) == 1


async def test_a_full_disk_leaves_nothing_under_the_releases_name_and_the_run_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0

    class Full(formats.NdjsonWriter):
        def write(self, columns: Columns) -> None:
            nonlocal written
            written += 1
            if written == 3:
                raise OSError(errno.ENOSPC, "No space left on device")
            super().write(columns)

    made = world()
    with monkeypatch.context() as patched:
        patched.setattr(formats, "NdjsonWriter", Full)
        with pytest.raises(OSError, match="No space left"):
            await released_by(folder, made)()
    assert not (folder / "out" / "rel-1").exists()
    path = await released_by(folder, made)()
    assert items(path) == [f"item {number}" for number in range(1, 46)]


async def test_nothing_is_released_under_rules_that_hold_no_more(folder: Path) -> None:
    made = world()
    made.held = rules("\n# another policy\n")
    with pytest.raises(ReleaseRefused, match="the rules have changed"):
        await released_by(folder, made)()
    assert not (folder / "out" / "rel-1").exists()
    assert made.recorded == []


async def test_nothing_is_released_after_the_day_until_which_the_law_allowed_it(folder: Path) -> None:
    made = world(now_s=1_900_000_000.0)
    with pytest.raises(ReleaseRefused, match="what the law allowed held until"):
        await released_by(folder, made)()


async def test_where_no_row_may_go_there_is_no_release_and_the_ground_is_said(folder: Path) -> None:
    made = world(12)
    made.homes = {str(one["subject_id"]): "GB" for rows in made.shards.values() for one in rows}
    with pytest.raises(ReleaseRefused, match="no row may go: uk -> "):
        await released_by(folder, made)()
    assert list((folder / "out").iterdir()) == []
    assert journals(folder / "runs") == []
    made.homes = {}
    assert len(items(await released_by(folder, made)())) == 12


async def test_rows_of_whom_nobody_knows_the_law_and_of_whoever_said_no_stay_and_are_counted(folder: Path) -> None:
    made = world()
    first, second = (str(one["subject_id"]) for one in made.shards[ShardId("s1")][:2])
    made.homes, made.said = {first: ""}, {second: Consent.WITHHELD}
    path = await released_by(folder, made)()
    assert items(path)[0] == "item 3"
    stayed = verify(path, SIGNER.verifier).document["rows"]["stayed"]
    assert stayed == {
        "it is not known whose law the person is under": 1,
        "the person has said no to analytics": 1,
    }


async def test_a_batch_with_a_finding_is_held_back_and_told_to_the_owner_by_its_key_and_to_nobody_else(
    folder: Path,
) -> None:
    made = world()
    made.shards[ShardId("s1")][12]["item"] = PLANTED

    def scan(strings: Any, _name: str) -> list[list[Found]]:
        return [[Found("email", 0, len(one))] if "@" in one else [] for one in strings]

    doing = released_by(folder, made, treats=treater(held=RULES, scan=scan))
    path = await doing()
    assert "item 13" not in items(path)
    assert len(items(path)) == 35
    assert PLANTED.encode() not in everything_in(path)
    document = verify(path, SIGNER.verifier).document
    assert document["held"] == [{"rows": 10, "found": {"item": {"email": 1}}}]
    told = doing.journal.report()
    assert told is not None
    (held,) = (msgspec.convert(one, HeldBatch) for one in told["held"])
    assert held.first[0] == str(made.shards[ShardId("s1")][10]["subject_id"])
    assert held.first[0].encode() not in everything_in(path)


async def test_a_column_that_changed_its_type_leaves_empty_and_is_counted(folder: Path) -> None:
    path = await released_by(folder, world(drifted=("tier",)))()
    assert verify(path, SIGNER.verifier).document["counts"]["tier"] == {"changed_type": 45}


def _part(path: Path, number: int) -> Path:
    (part,) = path.glob(f"part-{number:05d}-*")
    return part


def _spoil_part(path: Path) -> None:
    part = _part(path, 1)
    part.write_bytes(part.read_bytes().replace(b"item 1", b"item 9", 1))


def _spoil_manifest(path: Path) -> None:
    manifest = path / MANIFEST
    manifest.write_bytes(manifest.read_bytes().replace(b'"released":45', b'"released":44'))


def _sign_with_another(path: Path) -> None:
    other = Signer(SIGNER.verifier.name, Secret(b"o" * 32))
    (path / SIGNATURE).write_text(other.sign("domicile release\nrel-1\nsha256:00\n"))


TAMPERED: dict[str, Callable[[Path], object]] = {
    "part-00001-[0-9a-f]{16}.ndjson is not what was released": _spoil_part,
    "not the one that was signed": _spoil_manifest,
    "the signature": _sign_with_another,
    "part-00002-[0-9a-f]{16}.ndjson is missing": lambda path: _part(path, 2).unlink(),
    "more.txt is no part of this release": lambda path: (path / "more.txt").write_text("and this"),
    f"no {SIGNATURE}": lambda path: (path / SIGNATURE).unlink(),
}


@pytest.mark.parametrize("says", TAMPERED)
async def test_tampering_with_a_release_is_found(folder: Path, says: str) -> None:
    path = await released_by(folder, world())()
    TAMPERED[says](path)
    with pytest.raises(ManifestRefused, match=says):
        verify(path, SIGNER.verifier)


async def test_a_release_is_held_against_the_ledgers_proof_of_its_event(folder: Path) -> None:
    made = world()
    path = await released_by(folder, made)()
    shown = proven(folder, made)
    assert verify(path, SIGNER.verifier, shown).logged == 1
    other = run_of(folder, run_id="rel-2", held=RULES)
    beside = await released_by(folder, world(), run=other)()
    with pytest.raises(ManifestRefused, match="the ledger's entry is of another release"):
        verify(beside, SIGNER.verifier, shown)


async def test_a_run_on_another_ground_begins_anew_and_leaves_nothing_of_the_one_before(folder: Path) -> None:
    first = run_of(folder, held=RULES)
    sink = sink_of(first.out, {})
    journal, goes_on = await taken_up(folder / "runs", first, first.day, sink)
    staging = journal.staging
    staging.mkdir(parents=True)
    (staging / "part-00001.ndjson").write_text("{}")
    assert (journal.run, goes_on) == (first, False)
    again, goes_on = await taken_up(folder / "runs", msgspec.structs.replace(first, id="rel-2"), first.day, sink)
    assert (again.run.id, goes_on) == ("rel-1", True)
    changed = msgspec.structs.replace(first, id="rel-3", keys="others")
    anew, goes_on = await taken_up(folder / "runs", changed, first.day, sink)
    assert (anew.run.id, goes_on) == ("rel-3", False)
    assert [one.run.id for one in journals(folder / "runs")] == ["rel-3"]
    assert not staging.exists()


def test_two_processes_do_not_work_on_one_run(folder: Path) -> None:
    journal = journal_of(folder, run_of(folder, held=RULES))
    with journal.locked(), pytest.raises(SettingsError, match="another process works on run rel-1"), journal.locked():
        pass


async def test_csv_tells_an_empty_text_from_none_and_keeps_quotes_and_lines(folder: Path) -> None:
    made = MemoryWorld({ShardId("s1"): [row(1, item='a "b",\nc'), row(2, item=""), row(3, item=None)]}, held=RULES)
    path = await released_by(folder, made, run=run_of(folder, format_=Format.CSV, held=RULES))()
    text = _part(path, 1).read_bytes()
    assert b',"a ""b"",\nc",' in text
    lines = text.split(b"\r\n")
    assert lines[2].split(b",")[1] == b'""'
    assert lines[3].split(b",")[1] == b""


def proven(folder: Path, made: MemoryWorld) -> Shown:
    """The proof of the world's first event, second in a log, and what its entry commits to."""
    (event,) = made.recorded
    recorded = Recorded(
        position=2,
        id=event.id,
        at_us=round(event.at * 1e6),
        kind=event.kind.value,
        actor=event.actor,
        subject_id=None,
        details=msgspec.Raw(msgspec.json.encode(event.details)),
    )
    with Log(folder / "log", SIGNED_BY) as log:
        log.append({"s1": [*rows(1, 1), recorded]})
        log.publish()
    read = reader(folder / "log")
    found = read.find(event.id)
    assert found is not None
    opening = payloads.read(folder / "log", found.index)
    assert opening is not None
    return Shown(read.prove(found).render(), opening, SIGNED_BY.verifier)


def test_a_scanner_that_is_wanted_and_not_installed_is_a_mistake_of_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress_settings, "SCANNER", "cells.egress.not_installed")
    stated = EgressSettings(folder="f", origin="o", key_file="k", keyring="r")
    with pytest.raises(SettingsError, match="the scanner is not installed"):
        stated.scanner()
    assert msgspec.structs.replace(stated, scan="none").scanner() is None
