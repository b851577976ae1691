"""One command, two cells, two tables, out to a service that takes files by HTTP: each a release of its own, once, whatever gives way."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import Result

from cells.egress.manifest import MANIFEST
from cells.egress.verify import verify
from deploy.local.postgres import PostgresServer
from foundation.postgres import connect
from foundation.words import CellId
from tests.stands.cell import Stand, stand
from tests.stands.directory import POLICY
from tests.stands.egress_cell import NOTES, SIGNER, command, person, prepared, write_settings
from tests.stands.lake import Lake
from tests.stands.servers import serving
from tests.stands.shard import drop_database, make_shard_database
from tests.stands.store import s3_store

pytestmark = pytest.mark.anyio
DESTINATION = """
[destinations.near]
country = "FR"
purposes = ["analytics"]
recipient_classes = []
sinks = ["http://127.0.0.1:{port}/in", "s3://lake/in"]
"""
VISITS = """
table: visits
placed_by: subject_id
owner: subject_id
columns:
  subject_id: {type: uuid, class: pseudonymous, leaving: {default: token}}
  id:         {type: uuid, class: none}
  page:       {type: text, class: none, leaving: {default: keep}}
"""
VISITS_DDL = """
CREATE TABLE product.visits (
    subject_id uuid NOT NULL, id uuid NOT NULL DEFAULT gen_random_uuid(), page text, PRIMARY KEY (subject_id, id));
GRANT SELECT ON product.visits TO domicile_records;
"""


class Two(msgspec.Struct, frozen=True):
    """Both cells, and who takes what they release."""

    eu: Stand
    us: Stand
    lake: Lake
    url: str

    async def run(self, *words: str, tables: tuple[str, ...] = ("notes", "visits"), out: str | None = None) -> Result:
        settings = [word for one in (self.eu, self.us) for word in ("--settings", one.folder / "cell.toml")]
        aim = ("--to", "near", "--for", "analytics", "--out", out or self.url)
        return await command("run", *tables, *aim, *settings, "--json", *words)


@pytest.fixture(scope="module")
async def shared(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Two]:
    folder = tmp_path_factory.mktemp("several")
    folders = {cell: folder / cell for cell in ("eu-de", "us-va")}
    for one in folders.values():
        one.mkdir()
    lake = Lake(folder / "lake")
    name, dsns = await make_shard_database(postgres_server)
    with pytest.MonkeyPatch.context() as patch:
        for suffix, dsn in (("OWNER", dsns.owner), ("CELL", dsns.cell), ("RECORDS", dsns.records)):
            patch.setenv(f"US_VA_S1_{suffix}", dsn.reveal())
        async with serving(lake) as port:
            policy = POLICY + DESTINATION.format(port=port)
            async with stand(postgres_server, folders["eu-de"], patch, policy=policy) as eu:
                us = Stand(
                    folder=folders["us-va"],
                    tokens=eu.tokens,
                    directory_url=eu.directory_url,
                    dsns={"s1": dsns},
                    name=CellId("us-va"),
                )
                us.directory = eu.directory
                for one in (eu, us):
                    await prepared(one, one.folder / "contracts", scan="none")
                    (one.folder / "contracts" / "visits.yaml").write_text(VISITS)
                    for held in one.dsns.values():
                        async with connect(held.owner) as db:
                            await db.execute(VISITS_DDL)
                async with eu.running(NOTES), us.running(NOTES):
                    write_settings(eu)
                    write_settings(us)
                    yield Two(eu, us, lake, f"http://127.0.0.1:{port}/in")
    await drop_database(postgres_server, name)


@pytest.fixture
async def two(shared: Two) -> Two:
    """Two people in the one cell and one in the other, each with a note and a visit; no run, and nothing in the lake."""
    shutil.rmtree(shared.lake.folder, ignore_errors=True)
    shared.lake.names.clear()
    shared.lake.dies_after = shared.lake.refuses = None
    for one in (shared.eu, shared.us):
        shutil.rmtree(one.folder / "runs", ignore_errors=True)
        for dsns in one.dsns.values():
            async with connect(dsns.owner) as db:
                await db.execute("TRUNCATE product.notes, product.consents, product.visits")
    for live, residence, rank in ((shared.eu, "DE", 1), (shared.eu, "DE", 2), (shared.us, "US", 3)):
        subject, _ = await person(live, rank, residence=residence)
        home = live.cell.context.homes.get(subject)
        assert home is not None
        async with connect(live.dsns[home.shard].owner) as db:
            await db.execute("INSERT INTO product.visits (subject_id, page) VALUES ($1, $2)", subject, f"/{rank}")
    return shared


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Of a release, as somebody reads them who has the files alone: those that its manifest names."""
    document = json.loads((folder / MANIFEST).read_bytes())
    assert {one.name for one in folder.iterdir()} >= {one["name"] for one in document["payload"]["parts"]}
    return [
        json.loads(line)
        for one in document["payload"]["parts"]
        for line in (folder / one["name"]).read_text().splitlines()
    ]


def released(two: Two) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """By cell and table; a folder without manifest is no release."""
    found = {}
    for manifest in two.lake.folder.glob(f"in/*/{MANIFEST}"):
        document = json.loads(manifest.read_bytes())
        key = document["cell"], document["table"]
        assert key not in found
        verify(manifest.parent, SIGNER.verifier)
        found[key] = rows_of(manifest.parent)
    return found


EVERYTHING = {
    ("eu-de", "notes"): [1, 2],
    ("eu-de", "visits"): ["/1", "/2"],
    ("us-va", "notes"): [3],
    ("us-va", "visits"): ["/3"],
}


def shown(two: Two) -> dict[tuple[str, str], list[Any]]:
    return {key: sorted(one.get("rank") or one["page"] for one in rows) for key, rows in released(two).items()}


async def test_one_command_releases_tables_of_cells_each_with_a_manifest_of_its_own_and_sums_up(two: Two) -> None:
    result = await two.run()
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["rows"], said["failed"]) == (6, [])
    assert [(one["cell"], one["table"], one["rows"]) for one in said["releases"]] == [
        ("eu-de", "notes", 2),
        ("eu-de", "visits", 2),
        ("us-va", "notes", 1),
        ("us-va", "visits", 1),
    ]
    assert all(one["folder"] == f"{two.url}/{one['id']}" for one in said["releases"])
    assert shown(two) == EVERYTHING


@pytest.mark.parametrize("after", [1, 5])
async def test_a_sink_that_dies_half_way_leaves_no_half_release_and_the_same_command_ends_it_once(
    two: Two, after: int
) -> None:
    two.lake.dies_after = after
    died = await two.run()
    assert died.exit_code == 1
    assert "did not take PUT" in died.output
    assert "the same command goes on from here" in died.output
    before = shown(two)
    assert before.items() <= EVERYTHING.items()
    two.lake.dies_after = None
    ended = await two.run()
    assert ended.exit_code == 0, ended.output
    assert shown(two) == EVERYTHING
    parts = [name for name in two.lake.names if name.startswith("part-")]
    assert len(parts) == len(set(parts))


async def test_a_sink_that_refuses_is_said_with_its_status_and_nothing_lies_there(two: Two) -> None:
    two.lake.refuses = 507
    result = await two.run()
    assert (result.exit_code, "answered 507 to PUT part-00001" in result.output) == (1, True)
    assert shown(two) == {}


async def test_a_place_that_policy_does_not_name_for_the_destination_gets_nothing(two: Two) -> None:
    for out in ("s3://elsewhere/in", f"{two.url}side", f"{two.url}/../other"):
        result = await two.run(out=out)
        assert (result.exit_code, "has no sink that" in result.output) == (1, True)
    assert two.lake.names == []
    assert not (two.eu.folder / "runs").exists()


async def test_what_one_cell_cannot_release_keeps_none_of_the_others_back_and_comes_with_the_same_command(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("US_VA_S1_RECORDS", "postgresql://nobody@127.0.0.1:1/none")
        result = await two.run()
    assert result.exit_code == 1
    assert "notes of us-va: nothing was released: " in result.output
    assert shown(two) == {key: rows for key, rows in EVERYTHING.items() if key[0] == "eu-de"}
    assert (await two.run()).exit_code == 0
    assert shown(two) == EVERYTHING


async def test_a_table_that_nobody_knows_begins_nothing_at_all(two: Two) -> None:
    result = await two.run(tables=("notes", "visit"))
    assert "no contract names a table visit; did you mean visits?" in result.output
    assert two.lake.names == []


async def test_releases_lie_in_an_object_store_as_they_do_in_a_folder(two: Two) -> None:
    with s3_store() as bucket:
        result = await two.run("--format", "parquet", tables=("notes",), out="s3://lake/in")
        assert result.exit_code == 0, result.output
        for one in json.loads(result.stdout)["releases"]:
            folder = two.lake.folder / one["id"]
            folder.mkdir(parents=True)
            for name, content in bucket.files(f"in/{one['id']}/").items():
                (folder / name).write_bytes(content)
            assert verify(folder, SIGNER.verifier).rows == one["rows"]
