"""`domicile directory export` and `reconcile`: a cell's subjects as the directory has them, held against the fences of its shards."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec

from foundation.words import CellId
from gateway.cli.client import Directory, Service
from gateway.cli.options import json_option, print_json, print_table
from gateway.cli.reach import Reach, reach_option
from gateway.cli.truth import cell_service

PAGE = 1000
SHOWN_MAX = 50


@click.command(name="export")
@click.option("--cell", required=True, help="Whose subjects.")
@click.option(
    "--out", type=click.File("w", encoding="utf-8", lazy=True), default="-", help="Where to; default: standard output."
)
@reach_option
def export_(cell: str, out: Any, reach: Reach) -> None:
    """Write every placement of a cell.

    One JSON object a line, in the order of their ids; streamed, page by page.
    """
    for placement in _placements(reach, cell):
        out.write(msgspec.json.encode(placement).decode() + "\n")


def _placements(reach: Reach, cell: str) -> Iterator[dict[str, Any]]:
    """Under a fresh credential each page: a list may take longer than one lives."""
    cursor: str | None = None
    while True:
        page = Directory(reach).get("/subjects", cell=cell, limit=PAGE, cursor=cursor)
        yield from page["subjects"]
        cursor = page["next"]
        if cursor is None:
            return


@click.command()
@click.option("--cell", required=True, help="Whose shards.")
@click.option(
    "--repair", is_flag=True, help="Raise the fences that differ to what the directory says. They never go down."
)
@click.option(
    "--cell-token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --directory: a token whose audience is the cell.",
)
@reach_option
@json_option
def reconcile(cell: str, repair: bool, cell_token_file: Path | None, reach: Reach, as_json: bool) -> None:
    """Name where the fences of a cell's shards differ.

    They are held against the directory, every one. Exit status 1 where a difference is left.

    The directory says what holds, and fences only go up: one that is missing or behind is raised by --repair. One that is ahead of the
    directory, or of somebody unknown to it, is named and left: no fence mends a directory that was restored from an older state.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    compared = 0
    for subjects in _pages(reach, CellId(cell), cell_token_file):
        answer = cell_service(reach, CellId(cell), cell_token_file).post(
            "/cell/fences/compare", {"subjects": subjects, "repair": repair}
        )
        compared += answer["compared"]
        for one in answer["differences"]:
            found.setdefault((one["subject_id"], one["shard"]), one)
    left = [one for one in found.values() if not one["repaired"]]
    if as_json:
        print_json({"cell": cell, "compared": compared, "differences": list(found.values()), "left": len(left)})
    else:
        _print(list(found.values()), compared, len(left))
    if left:
        raise click.exceptions.Exit(1)


def _pages(reach: Reach, cell: CellId, token_file: Path | None) -> Iterator[list[str]]:
    """Whom the directory has in the cell, and whom the shards have a fence of; most stand in both."""
    placements = (placement["subject_id"] for placement in _placements(reach, cell))
    while page := list(islice(placements, PAGE)):
        yield page
    for shard in _cell(reach, cell, token_file).get("/cell/fences")["shards"]:
        after: str | None = None
        while True:
            fences = _cell(reach, cell, token_file).get(f"/cell/fences/{shard}", after=after, limit=PAGE)
            if fences["fences"]:
                yield [fence["subject_id"] for fence in fences["fences"]]
            after = fences["next"]
            if after is None:
                break


def _cell(reach: Reach, cell: CellId, token_file: Path | None) -> Service:
    return cell_service(reach, cell, token_file)


def _print(found: list[dict[str, Any]], compared: int, left: int) -> None:
    rows = [
        (one["subject_id"], one["shard"], one["differs"], _end(one["directory"]), _end(one["fence"]), _done(one))
        for one in found[:SHOWN_MAX]
    ]
    if rows:
        print_table(("subject", "shard", "differs", "directory", "fence", ""), rows)
    if len(found) > SHOWN_MAX:
        click.echo(f"and {len(found) - SHOWN_MAX} more; --json names them all")
    named = ", ".join(f"{count} {name}" for name, count in sorted(Counter(one["differs"] for one in found).items()))
    click.echo(f"{compared:,} compared (those in both lists twice): {named or 'no difference'}; {left} left")


def _end(side: list[Any] | None) -> str:
    return "none" if side is None else f"{side[0]} {side[1]}"


def _done(one: dict[str, Any]) -> str:
    if one["repaired"]:
        return "repaired"
    return "--repair raises it" if one["repairable"] else "no fence mends it"
