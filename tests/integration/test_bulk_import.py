"""`domicile directory import` and `registry` against a real directory and cell: placed, refused by row, resumed, repeated."""

import asyncio
import base64
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from deploy.local.postgres import PostgresServer
from foundation.settings import SettingsError
from gateway.cli.directory import importing as importing_module
from gateway.cli.directory import progress as progress_module
from gateway.cli.directory import ticker as ticker_module
from gateway.cli.directory.progress import Progress
from gateway.cli.main import cli
from tests.stands.cell import Stand, stand
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def one(postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stand]:
    async with stand(postgres_server, tmp_path, monkeypatch) as built, built.running():
        built.tokens.token_file(tmp_path / "operator.jwt", "operator:ops", ["operator"])
        ring = tmp_path / "blinding.json"
        ring.touch(mode=0o600)
        key = base64.urlsafe_b64encode(b"k" * 32).decode().rstrip("=")
        ring.write_text(json.dumps({"current": "k1", "keys": {"k1": key}}))
        yield built


def users(folder: Path, count: int) -> Path:
    file = folder / "users.csv"
    lines = [f"u{number},{'BR' if number % 50 == 49 else 'DE'}" for number in range(count)]
    file.write_text("\n".join(("uid,country", *lines)) + "\n")
    return file


async def run(one: Stand, *arguments: str, ok: bool = True) -> Result:
    reach = ("--directory", one.directory_url, "--token-file", str(one.folder / "operator.jwt"))
    result = await asyncio.to_thread(CliRunner().invoke, cli, ["directory", *arguments, *reach])
    assert (result.exit_code == 0) is ok, result.output
    return result


def importing(one: Stand, file: Path, *more: str) -> tuple[str, ...]:
    return (
        "import", str(file), "--map", "sub=uid", "--map", "residence=country", "--set", "issuer=https://id.example",
        "--set", "services=orders", "--blinding-keyring", str(one.folder / "blinding.json"), "--batch-rows", "100",
        "--json", *more,
    )  # fmt: skip


async def test_a_file_is_placed_and_its_refused_rows_are_named(one: Stand) -> None:
    file = users(one.folder, 250)
    dry = json.loads((await run(one, *importing(one, file, "--dry-run"))).stdout)
    assert (dry["placed"], dry["refused"], dry["cells"]) == (245, 5, {"eu-de": 245})
    assert (await one.directory.operator.get("/v1/subjects", cell="eu-de")).json()["subjects"] == []
    told = json.loads((await run(one, *importing(one, file))).stdout)
    assert {name: told[name] for name in ("rows", "placed", "known", "refused", "waiting")} == {
        "rows": 250, "placed": 245, "known": 0, "refused": 5, "waiting": 0,
    }  # fmt: skip
    errors = [json.loads(line) for line in (one.folder / "users.csv.errors.ndjson").read_text().splitlines()]
    assert [(row["row"], row["code"]) for row in errors] == [(n, "no_cell_allowed") for n in (49, 99, 149, 199, 249)]
    found = await run(
        one, "resolve", "--issuer", "https://id.example", "--sub", "u7", "--json",
        "--blinding-keyring", str(one.folder / "blinding.json"),
    )  # fmt: skip
    (placement,) = json.loads(found.stdout)["found"].values()
    assert (placement["cell"], placement["state"]) == ("eu-de", "active")
    # without its progress file it begins anew, and finds everybody there
    (one.folder / "users.csv.import.json").unlink()
    again = json.loads((await run(one, *importing(one, file))).stdout)
    assert (again["placed"], again["known"], again["refused"]) == (0, 245, 5)


async def test_imported_keys_are_counted_and_retired_by_the_name_of_their_blinding_key(one: Stand) -> None:
    blinding = ("--blinding-keyring", str(one.folder / "blinding.json"))

    async def status() -> dict[str, tuple[dict[str, int], int]]:
        told = json.loads((await run(one, "keys", "status", "--json", *blinding)).stdout)["generations"]
        return {each["kid"]: (each["keys"], each["alone"]) for each in told}

    file = users(one.folder, 30)
    await run(one, *importing(one, file))
    assert await status() == {"k1": ({"login": 30}, 30)}
    await run(one, "keys", "rotate", *blinding)
    more = users(one.folder, 49)
    told = json.loads((await run(one, *importing(one, more, "--progress-file", str(one.folder / "more.json")))).stdout)
    assert (told["placed"], told["known"], told["refused"]) == (19, 30, 0)
    assert await status() == {"k2": ({"login": 19}, 0), "k1": ({"login": 49}, 30)}
    refused = await run(one, "keys", "retire", "k1", "--reason", "test", *blinding, ok=False)
    assert "30 identifiers are known under k1 alone" in refused.output
    await run(one, "keys", "retire", "k1", "--lose", "--reason", "test", *blinding)
    assert await status() == {"k2": ({"login": 19}, 19)}
    found = await run(one, "resolve", "--issuer", "https://id.example", "--sub", "u40", "--json", *blinding)
    assert len(json.loads(found.stdout)["found"]) == 1


@contextmanager
def broken_off(monkeypatch: pytest.MonkeyPatch, *, batches: int) -> Iterator[None]:
    """What was told by then stays, and what is on its way has its effect."""
    kept: list[Progress] = []

    def keep(file: Path, progress: Progress) -> None:
        if len(kept) > batches:
            raise SettingsError("the power failed")
        kept.append(progress)
        progress_module.keep(file, progress)

    with monkeypatch.context() as patched:
        patched.setattr(importing_module, "keep", keep)
        yield


def rows_of(told: str) -> list[int]:
    """Numbers of the rows that a file of refused ones names."""
    return [json.loads(line)["row"] for line in Path(told).read_text().splitlines()]


COUNTED = ("rows", "placed", "known", "refused", "waiting")


async def test_an_import_that_broke_off_goes_on_where_it_was(one: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    file = users(one.folder, 230)
    with broken_off(monkeypatch, batches=1):
        assert "power" in (await run(one, *importing(one, file), ok=False)).output
    before = msgspec.json.decode((one.folder / "users.csv.import.json").read_bytes(), type=Progress)
    assert before.rows == 100
    told = json.loads((await run(one, *importing(one, file))).stdout)
    assert [told[name] for name in COUNTED] == [230, 226, 0, 4, 0]
    assert [told["job_id"]] == before.jobs
    again = json.loads((await run(one, *importing(one, file))).stdout)
    assert again | {"seconds": 0} == told | {"seconds": 0}


async def test_an_import_that_is_killed_at_whatever_moment_goes_on_without_a_loss(one: Stand) -> None:
    file, kept = users(one.folder, 1500), one.folder / "users.csv.import.json"
    reach = ("--directory", one.directory_url, "--token-file", str(one.folder / "operator.jwt"))
    command = [sys.executable, "-P", "-c", "from gateway.cli.main import cli; cli()", "directory"]

    def told_of(batches: int) -> bool:
        """Whether so many batches are known to be in, or the command has ended."""
        so_far = msgspec.json.decode(kept.read_bytes(), type=Progress).rows if kept.exists() else 0
        return so_far >= 100 * batches or running.returncode is not None

    for batches in (1, 4, 9):
        running = await asyncio.create_subprocess_exec(
            *command, *importing(one, file), *reach, stdout=PIPE, stderr=PIPE
        )
        await eventually(lambda: told_of(batches), s_max=30.0)  # noqa: B023 - waited for here
        if running.returncode is None:
            running.kill()
        await running.communicate()
    told = json.loads((await run(one, *importing(one, file))).stdout)
    assert [told[name] for name in COUNTED] == [1500, 1470, 0, 30, 0]
    assert rows_of(told["errors"]) == list(range(49, 1500, 50))


async def test_one_that_broke_off_goes_on_also_when_rows_were_appended(
    one: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = users(one.folder, 230)
    file.write_text(file.read_text().rstrip("\n"))
    with broken_off(monkeypatch, batches=1):
        await run(one, *importing(one, file), ok=False)
    told = json.loads((await run(one, *importing(one, users(one.folder, 260)))).stdout)
    assert (told["rows"], told["placed"] + told["known"], told["refused"], told["waiting"]) == (260, 255, 5, 0)
    more = json.loads((await run(one, *importing(one, users(one.folder, 270)))).stdout)
    assert (more["rows"], more["placed"] - told["placed"], more["refused"]) == (270, 10, 5)


async def test_refused_rows_are_told_once_and_a_dry_run_tells_its_own_elsewhere(
    one: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = users(one.folder, 230)
    with broken_off(monkeypatch, batches=1):
        await run(one, *importing(one, file), ok=False)
    told = one.folder / "users.csv.errors.ndjson"
    assert rows_of(str(told)) == [49, 99, 149, 199]  # the last two before that was kept
    dry = json.loads((await run(one, *importing(one, file, "--dry-run"))).stdout)
    assert (Path(dry["errors"]).name, rows_of(dry["errors"])) == (
        "users.csv.errors.dry-run.ndjson",
        [49, 99, 149, 199],
    )
    named = json.loads((await run(one, *importing(one, file, "--dry-run", "--errors", str(told)))).stdout)
    assert named["errors"] == dry["errors"]
    done = json.loads((await run(one, *importing(one, file))).stdout)
    assert (done["errors"], rows_of(done["errors"])) == (str(told), [49, 99, 149, 199])
    assert rows_of(json.loads((await run(one, *importing(one, file))).stdout)["errors"]) == [49, 99, 149, 199]
    (one.folder / "users.csv.import.json").unlink()
    assert rows_of(json.loads((await run(one, *importing(one, file))).stdout)["errors"]) == [49, 99, 149, 199]


async def test_a_row_that_was_mended_far_into_the_file_is_not_passed_over(one: Stand) -> None:
    file = one.folder / "users.csv"
    rows = [f"u{number},{'BR' if number == 90 else 'DE'},{'x' * 1_000}" for number in range(100)]
    file.write_text("\n".join(("uid,country,note", *rows)) + "\n")
    told = json.loads((await run(one, *importing(one, file))).stdout)
    assert (told["placed"], told["refused"]) == (99, 1)
    mended = file.read_text().replace("BR", "DE")
    file.write_text(mended)
    assert file.stat().st_size > 90 * 1_000
    refused = await run(one, *importing(one, file), ok=False)
    assert "some of the 100 rows that were sent are not the same any more" in refused.output
    (one.folder / "users.csv.import.json").unlink()
    told = json.loads((await run(one, *importing(one, file))).stdout)
    assert (told["placed"], told["known"], told["refused"]) == (1, 99, 0)


async def test_a_badly_quoted_row_is_refused_and_a_quote_that_nothing_closes_stops_after_what_came_before(
    one: Stand,
) -> None:
    file = users(one.folder, 230)
    lines = file.read_text().splitlines(keepends=True)
    lines[21], lines[181] = '"u20"x,DE\n', '"u180,DE\n'
    file.write_text("".join(lines))
    stopped = await run(one, *importing(one, file), ok=False)
    assert "line 182 holds a quote that nothing closes" in stopped.output
    told = one.folder / "users.csv.errors.ndjson"
    assert rows_of(str(told)) == [20, 49, 99, 149]
    assert len((await one.directory.operator.get("/v1/subjects", cell="eu-de", limit=1000)).json()["subjects"]) == 176
    lines[181] = "u180,DE\n"
    file.write_text("".join(lines))
    done = json.loads((await run(one, *importing(one, file))).stdout)
    assert [done[name] for name in COUNTED] == [230, 225, 0, 5, 0]
    assert rows_of(str(told)) == [20, 49, 99, 149, 199]


async def test_how_far_an_import_has_come_is_told_without_a_terminal_too(
    one: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticker_module, "EVERY_S", 0.0)
    told = await run(one, *importing(one, users(one.folder, 230)))
    assert "100 rows, 98 placed, 2 refused" in told.stderr
    assert json.loads(told.stdout)["rows"] == 230


async def test_progress_under_other_options_is_not_gone_on_with(one: Stand) -> None:
    file = users(one.folder, 10)
    await run(one, *importing(one, file))
    other = await run(one, *importing(one, file, "--set", "residence=FR"), ok=False)
    assert "other options" in other.output


async def test_a_cell_is_drained_and_opened_again_from_the_command_line(one: Stand) -> None:
    drained = json.loads((await run(one, "registry", "drain", "cells/eu-de", "--reason", "upkeep", "--json")).stdout)
    assert drained["entry"]["drain"] is True
    assert (await one.directory.operator.place("late")).status_code == 503
    assert "yes" in (await run(one, "registry", "list")).output
    await run(one, "registry", "set", "cells/eu-de/shards/s1", "--weight", "3", "--reason", "bigger disk")
    await run(one, "registry", "undrain", "cells/eu-de", "--reason", "done")
    assert (await one.directory.operator.place("late")).status_code in (201, 202)
    told = json.loads((await run(one, "registry", "history", "--json")).stdout)["entries"]
    assert [(change["entry"], change["reason"]) for change in told] == [
        ("cells/eu-de", "done"), ("cells/eu-de/shards/s1", "bigger disk"), ("cells/eu-de", "upkeep"),
    ]  # fmt: skip
    refused = await run(one, "registry", "drain", "cells/eu-dd", "--reason", "x", ok=False)
    assert "did you mean eu-de?" in refused.output
    assert (await run(one, "registry", "set", "cells/eu-de", "--reason", "x", ok=False)).exit_code == 2
