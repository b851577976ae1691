"""`domicile egress run`: tables of cells, released to a folder, a service or a store for a destination and purpose."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cells.egress.formats import Format
from cells.egress.sinks.port import is_remote
from foundation.settings import SettingsError
from foundation.words import DestinationId
from gateway.cli.egress.running import Outcome, Request, ran
from gateway.cli.egress.which import Which, aim_options, cells_option
from gateway.cli.options import json_option, print_json

LOOK_S_MAX = 5.0
"""A release whose people were looked at again for longer than this says so: the first of them might have said no since."""


@click.command()
@click.argument("tables", nargs=-1, required=True)
@aim_options
@click.option(
    "--format", "format_", type=click.Choice([one.value for one in Format]), default="ndjson", show_default=True
)
@click.option(
    "--out",
    required=True,
    help="What gets each release under its id: a folder, or a URL below one of the destination's sinks in policy.",
)
@click.option("--part-rows", type=click.IntRange(2_000, 1_000_000), default=50_000, show_default=True)
@click.option("--discard", "anew", is_flag=True, help="Throw away what an earlier run of the same left unfinished.")
@cells_option
@json_option
def run(
    tables: Sequence[str],
    to: str,
    purpose: str,
    format_: str,
    out: str,
    part_rows: int,
    anew: bool,
    cells: list[Which],
    as_json: bool,
) -> None:
    """Release TABLES as their contracts say: of each cell, each a release of its own with its own manifest.

    A run that was ended goes on by the same command, as long as contract and rules are the same; what is released of it by then is not
    released again. Nothing is released before all of it is written, signed and recorded, and everybody in it was looked at again.
    """
    request = Request(
        tables=tuple(dict.fromkeys(tables)),
        to=DestinationId(to),
        purpose=purpose,
        format=Format(format_),
        out=out if is_remote(out) else str(Path(out).absolute()),
        part_rows=part_rows,
    )
    found = asyncio.run(ran(cells, request, anew=anew))
    failed = [one for one in found if one.failed is not None]
    if len(found) == 1 and failed:
        raise SettingsError(str(failed[0].failed))
    released = [one.said for one in found if one.said is not None]
    if as_json:
        print_json(released[0] if len(found) == 1 else _summed(found, released))
    else:
        for said in released:
            _show(said)
        if len(found) > 1:
            rows = sum(said["rows"] for said in released)
            click.echo(f"{len(released)} of {len(found)} released, {rows:,} rows")
    if failed:
        raise SettingsError("\n".join(f"{one.table} of {one.cell}: {one.failed}" for one in failed))


def _summed(found: Sequence[Outcome], released: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "rows": sum(said["rows"] for said in released),
        "releases": released,
        "failed": [
            {"cell": one.cell, "table": one.table, "why": one.failed} for one in found if one.failed is not None
        ],
    }


def _show(said: dict[str, Any]) -> None:
    click.echo(f"{said['id']}: {said['rows']:,} rows of {said['table']} of {said['cell']} in {said['folder']}")
    for line in said["stayed"]:
        click.echo(f"stayed: {line}")
    if said["looked_s"] > LOOK_S_MAX:
        click.echo(f"everybody in it was looked at again within the last {said['looked_s']} s before it was released")
