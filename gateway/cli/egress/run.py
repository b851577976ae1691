"""`domicile egress run`: one table of a cell, released to a folder for a destination and purpose."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from cells.egress.formats import Format
from cells.egress.keys import check_of
from cells.egress.runs import Journal, Part, Run, discard, journals, taken_up
from foundation.clock import SystemClock
from foundation.settings import SettingsError
from foundation.words import DestinationId
from gateway.cli.egress.means import contract_digest, keys, today, treater
from gateway.cli.egress.which import Which, checked, release_options, told, which_option
from gateway.cli.options import json_option, print_json


@click.command()
@release_options
@click.option(
    "--format", "format_", type=click.Choice([one.value for one in Format]), default="ndjson", show_default=True
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder that gets the release, a folder named by its id.",
)
@click.option("--part-rows", type=click.IntRange(2_000, 1_000_000), default=50_000, show_default=True)
@click.option("--discard", "anew", is_flag=True, help="Throw away what an earlier run of the same left unfinished.")
@which_option
@json_option
def run(
    table: str,
    to: str,
    purpose: str,
    format_: str,
    out: Path,
    part_rows: int,
    anew: bool,
    which: Which,
    as_json: bool,
) -> None:
    """Release TABLE as its contract says. A run that was ended goes on by the same command, as long as contract and rules are the same.

    Nothing lies under the release's name before all of it is written, signed and recorded.
    """
    request = {"table": table, "to": to, "purpose": purpose, "format": format_, "out": out.absolute()}
    released = asyncio.run(_run(which, request, part_rows, anew))
    if as_json:
        print_json(released)
        return
    click.echo(f"{released['id']}: {released['rows']:,} rows in {released['folder']}")
    for line in released["stayed"]:
        click.echo(f"stayed: {line}")


async def _run(which: Which, request: dict[str, Any], part_rows: int, anew: bool) -> dict[str, Any]:
    from cells.egress import release
    from cells.egress.worlds import new_release_id, opened, rules_of

    clock, contract, to = SystemClock(), which.contract(request["table"]), DestinationId(request["to"])
    async with told(), which.directory() as directory:
        rules = await rules_of(directory)
        checked(to, request["purpose"], rules)
        day = today(clock.unix_s())
        wanted = Run(
            id=new_release_id(),
            cell=which.settings.cell,
            table=contract.table,
            destination=to,
            purpose=request["purpose"],
            format=Format(request["format"]),
            out=str(request["out"]),
            day=day.isoformat(),
            contract=contract_digest(contract),
            rules=rules.digest,
            keys=check_of(keys(which, request["purpose"])),
            begun_at=clock.unix_s(),
        )
        journal = _journal(Path(which.egress.folder), wanted, anew)
        with journal.locked():
            stated = journal.run
            made = treater(which, contract, to, stated.purpose, rules, day.fromisoformat(stated.day))
            async with opened(
                cell=which.settings.cell,
                contract=contract,
                contracts=which.contracts(),
                purpose=stated.purpose,
                records=which.records(rules),
                first=which.outbox(rules),
                directory=directory,
                clock=clock,
                signer=which.egress.signer(),
                actor=f"cell:{which.settings.cell}",
            ) as world:
                folder = await release.run(journal, made, world, part_rows=part_rows, told=_progress)
    return _said(journal, folder)


def _journal(folder: Path, wanted: Run, anew: bool) -> Journal:
    """Raises SettingsError, OSError."""
    if anew:
        for journal in journals(folder):
            if not journal.released and journal.run.same_request(wanted):
                with journal.locked():
                    discard(journal)
    journal, goes_on = taken_up(folder, wanted, wanted.day)
    if goes_on:
        sys.stderr.write(f"{journal.run.id} goes on after {len(journal.parts())} parts\n")
    return journal


def _progress(part: Part) -> None:
    held = f", {len(part.held)} batches in quarantine" if part.held else ""
    sys.stderr.write(f"part {part.number} of {part.shard}: {part.rows:,} of {part.read:,} rows{held}\n")


def _said(journal: Journal, folder: Path) -> dict[str, Any]:
    report = journal.report()
    if report is None:
        raise SettingsError(f"{journal.folder} has no report")
    stayed = [f"{count:,} rows: {ground}" for ground, count in report["stayed"].items()]
    stayed += [f"{name}: {why}" for name, why in report["unmade"].items()]
    stayed += [f"{one['rows']:,} rows in quarantine, {one['found']}" for one in report["held"]]
    return {
        "id": journal.run.id,
        "folder": str(folder),
        "rows": report["rows"],
        "stayed": stayed,
        "fields": report["fields"],
    }
