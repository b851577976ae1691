"""`domicile records contracts`, as an operator runs it: on files, on live shards, on the stack."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cells.records.contracts import read_folder
from deploy.local.postgres import PostgresServer
from foundation.postgres import connect
from gateway.cli.main import cli
from tests.stands.shard import NOTES, Dsns, drop_database, make_shard_database
from tests.stands.stack import stack

SAMPLE = Path(__file__).parents[2] / "deploy" / "local" / "contracts"


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli, ["records", "contracts", *arguments], env=env)


class Shard:
    """A live shard under a product's migrations."""

    def __init__(self, dsns: Dsns) -> None:
        self.env = {"SHARD": dsns.cell.reveal()}
        self._dsns = dsns

    def migrate(self, sql: str) -> None:
        async def execute() -> None:
            async with connect(self._dsns.owner) as owner:
                await owner.execute(sql)

        asyncio.run(execute())

    def __call__(self, *arguments: str) -> Result:
        return run(*arguments, "--dsn-env", "SHARD", env=self.env)


@pytest.fixture
def shard(postgres_server: PostgresServer) -> Iterator[Shard]:
    name, dsns = asyncio.run(make_shard_database(postgres_server))
    yield Shard(dsns)
    asyncio.run(drop_database(postgres_server, name))


@pytest.fixture
def contracts(folder: Path) -> Path:
    (folder / "notes.yaml").write_text(NOTES)
    return folder


def test_the_samples_contracts_have_no_mistake() -> None:
    done = run("check", str(SAMPLE), "--offline")
    assert (done.exit_code, done.output) == (0, "3 contracts without a mistake; no table was looked at\n")


def test_every_mistake_of_every_file_is_told_at_once(contracts: Path) -> None:
    (contracts / "a.yaml").write_text(
        NOTES.replace("owner: subject_id", "ownr: subject_id").replace("type: bigint", "type: bigit")
    )
    (contracts / "b.yaml").write_text("table: [")
    done = run("check", str(contracts), "--offline")
    assert done.exit_code == 1
    told = done.output.splitlines()
    assert f"{contracts}/a.yaml:4: unknown key ownr; did you mean owner?" in told
    assert any(
        "a.yaml:14: columns.total.type: 'bigit' is no type of contracts; did you mean bigint?" in one for one in told
    )
    assert any("b.yaml:1: not YAML" in one for one in told)
    machine = json.loads(run("check", str(contracts), "--offline", "--json").stdout)
    assert machine["contracts"] == ["notes"]
    assert len(machine["mistakes"]) == 4


def test_a_check_without_any_shard_says_how_to_name_one(contracts: Path) -> None:
    done = run("check", str(contracts), "--state", str(contracts / "none"))
    assert (done.exit_code, "there is no stack in" in done.output) == (1, True)
    unset = run("check", str(contracts), "--dsn-env", "NOT_SET_ANYWHERE")
    assert (unset.exit_code, "NOT_SET_ANYWHERE is not set" in unset.output) == (1, True)
    assert run("check", str(contracts), "--offline", "--dsn-env", "X").exit_code == 2
    assert run("check", str(contracts / "nowhere"), "--offline").exit_code == 1


def test_a_shard_that_cannot_be_asked_is_no_table_that_fits(contracts: Path) -> None:
    env = {"SHARD": "postgresql://domicile_cell:hidden@127.0.0.1:1/x"}
    done = run("check", str(contracts), "--dsn-env", "SHARD", env=env)
    assert (done.exit_code, "could not be asked" in done.output, "hidden" in done.output) == (1, True, False)
    assert run("diff", str(contracts), "--dsn-env", "SHARD", env=env).exit_code == 1
    assert run("generate", "notes", "--dsn-env", "SHARD", env=env).exit_code == 1


def test_a_migration_is_checked_before_and_after(shard: Shard, contracts: Path) -> None:
    fits = shard("check", str(contracts))
    assert (fits.exit_code, "fits" in fits.output) == (0, True)
    assert "unclassified, not shown: shadow, epoch" in " ".join(fits.output.split())
    shard.migrate(
        "ALTER TABLE product.notes DROP COLUMN price, ALTER COLUMN total TYPE text; REVOKE DELETE ON product.notes FROM domicile_records"
    )
    done = shard("check", str(contracts))
    assert done.exit_code == 1
    for said in ("has no column price", "total is text, the contract says bigint", "lacks DELETE", "GRANT DELETE"):
        assert said in " ".join(done.output.split())
    machine: dict[str, Any] = json.loads(shard("check", str(contracts), "--json").stdout)
    (entry,) = machine["tables"]
    assert [(one["stops"], bool(one["remedy"])) for one in entry["mismatches"]] == [("everything", True)] * 3


def test_a_difference_from_the_table_is_shown_new_columns_too(shard: Shard, contracts: Path) -> None:
    (contracts / "notes.yaml").write_text(NOTES + "  epoch:      {type: bigint}\n")
    same = shard("diff", str(contracts))
    assert (same.exit_code, same.output) == (0, "contracts and tables say the same\n")
    shard.migrate("ALTER TABLE product.notes ADD COLUMN more text, DROP COLUMN price")
    found = json.loads(shard("diff", str(contracts), "--json").stdout)
    assert [(one["kind"], one["what"]) for one in found] == [
        ("drift", "product.notes has no column price"),
        ("new", "column more (text), unclassified, not shown"),
    ]
    assert shard("diff", str(contracts)).exit_code == 1


def test_two_versions_show_a_reviewer_what_opens(contracts: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    (new / "notes.yaml").write_text(
        NOTES.replace("shadow:     {type: text}", "shadow:     {type: text, class: special}")
    )
    done = run("diff", str(contracts), str(new))
    assert done.exit_code == 1
    assert "widens notes shadow the person may read for any purpose" in " ".join(done.output.split())
    narrower = run("diff", str(new), str(contracts), "--json")
    assert narrower.exit_code == 0
    assert {one["way"] for one in json.loads(narrower.stdout)} == {"narrows"}
    assert run("diff", str(new), str(new)).output == "nobody may see or do anything else than before\n"
    (new / "notes.yaml").write_text("table: 3")
    broken = run("diff", str(contracts), str(new))
    assert (broken.exit_code, "notes.yaml:1:" in broken.output) == (1, True)


def test_contracts_are_written_from_the_shard_and_never_over_others(shard: Shard, tmp_path: Path) -> None:
    shard.migrate('CREATE TABLE product.loose (i int PRIMARY KEY); CREATE TABLE product."Wares" (id uuid)')
    printed = shard("generate", "notes")
    assert printed.exit_code == 0
    into = tmp_path / "made"
    written = shard("generate", "notes", "--into", str(into))
    assert (written.exit_code, (into / "notes.yaml").read_text()) == (0, printed.stdout)
    assert shard("check", str(into)).exit_code == 0
    held = read_folder(into)["notes"]
    assert (held.placed_by, held.classified) == ("subject_id", ("subject_id", "id"))
    assert (held.access.person.read, held.access.services) == ((), {})

    (into / "notes.yaml").write_text(NOTES)
    left = shard("generate", "notes", "--into", str(into))
    assert (left.exit_code, "is there already" in left.output) == (1, True)
    assert (into / "notes.yaml").read_text() == NOTES
    merged = shard("generate", "notes", "--into", str(into), "--merge")
    assert (merged.exit_code, "added epoch" in merged.output) == (0, True)
    assert (into / "notes.yaml").read_text() == NOTES + "  epoch: {type: bigint}\n"
    shard.migrate("ALTER TABLE product.notes DROP COLUMN price")
    again = shard("generate", "notes", "--into", str(into), "--merge")
    assert "nothing to add" in again.output
    assert "no longer has price" in again.output
    assert shard("generate", "notes", "--into", str(into), "--force").exit_code == 0
    assert "price" not in (into / "notes.yaml").read_text()

    assert "# Which uuid column holds the subject's id?" in shard("generate", "loose").stdout
    unusable = shard("generate", "--all", "--into", str(into))
    assert (unusable.exit_code, "Wares" in unusable.output) == (1, True)
    assert shard("generate", "nothing").exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [(), ("notes", "--all"), ("--all",), ("notes", "--merge"), ("notes", "--into", "x", "--merge", "--force")],
)
def test_half_a_wish_is_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert run("generate", *arguments).exit_code == 2


@pytest.mark.timeout(180)
def test_the_stacks_shards_and_contracts_are_what_is_meant_by_default(tmp_path: Path) -> None:
    with stack(tmp_path / "st", "postgres-eu-de") as held:
        state = ("--state", str(held.paths.state))
        done = run("check", "--json", *state)
        tables = json.loads(done.stdout)["tables"]
        assert len({(one["table"], one["shard"]) for one in tables}) == 18
        # Only one cell's server runs here: its tables fit, and of the others nobody says that they do.
        asked = {one["shard"] for one in tables if one["unreachable"] is None}
        assert asked == {"eu-de/s1", "eu-de/s2"}
        assert (done.exit_code, [one for one in tables if one["mismatches"]]) == (1, [])
        assert run("generate", "profiles", *state).stdout.count("internal_score") == 1
