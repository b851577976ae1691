"""`domicile directory locks`: what cells have told of who is locked out of break-glass, and an operator's word where one cannot."""

from typing import Any

import click

from foundation.words import MalformedWord, parse_slug
from gateway.cli.client import Directory
from gateway.cli.options import json_option, print_json, print_table, utc
from gateway.cli.reach import Reach, reach_option

LIST_MAX = 1000
_US = 1_000_000
_PERSON_CHARS = 16
"""Of a digest, as it is printed; --json has all of it."""


@click.group()
def locks() -> None:
    """See which locks cells told; forget a lost cell's."""


@locks.command(name="list")
@reach_option
@json_option
def list_(reach: Reach, as_json: bool) -> None:
    """List what stands, cell by cell. People are digests here: the cell that locked them knows who they are."""
    found = Directory(reach).get("/locks")
    if as_json:
        print_json(found)
        return
    rows = [(told["cell"], *_lock(one)) for told in found["cells"] for one in told["locks"]]
    print_table(("cell", "person", "what", "since (UTC)", "entry there"), rows)
    click.echo(f"{len(found['cells'])} cells have told")


@locks.command()
@click.option("--limit", type=click.IntRange(1, LIST_MAX), default=50, show_default=True)
@click.option("--cursor", help="Go on where an earlier list ended.")
@reach_option
@json_option
def history(limit: int, cursor: str | None, reach: Reach, as_json: bool) -> None:
    """Show which locks stood and were lifted, the newest first."""
    found = Directory(reach).get("/locks/history", limit=limit, cursor=cursor)
    if as_json:
        print_json(found)
        return
    rows = [
        (utc(one["at"]), one["cell"], "stands" if one["stands"] else "lifted", *_lock(one), one["actor"], one["reason"])
        for one in found["entries"]
    ]
    print_table(("at (UTC)", "cell", "", "person", "what", "since (UTC)", "entry there", "actor", "reason"), rows)
    if found["next"]:
        click.echo(f"more with --cursor {found['next']}")


@locks.command(short_help="Let nothing stand that CELL told.")
@click.argument("cell")
@click.option("--reason", required=True, help="Why; it stands in the history and in the directory's ledger.")
@click.option("--unknown", is_flag=True, help="Also where nothing is held of it any more.")
@reach_option
@json_option
def forget(cell: str, reason: str, unknown: bool, reach: Reach, as_json: bool) -> None:
    """Let nothing stand that CELL told.

    For a cell that is gone for good, and for one whose database was restored to before a lock, instead of lifting one by one what is kept
    of it: look at its ledger first (`domicile access replay`), since it tells what it knows now as soon as this is done. Other cells keep
    what they heard of a cell until it tells anew or is forgotten; where the directory was restored to before a cell first told, say
    --unknown.
    """
    try:
        path = f"/locks/{parse_slug(cell, 'cell')}/forget"
    except MalformedWord as exc:
        raise click.UsageError(str(exc)) from exc
    answer = Directory(reach).post(path, {"reason": reason} | ({"unknown": True} if unknown else {}))
    if as_json:
        print_json(answer)
        return
    click.echo(f"forgotten: what cell {cell} had told")


def _lock(one: dict[str, Any]) -> tuple[str, str, str, str]:
    return one["person"][:_PERSON_CHARS], one["code"], utc(one["since_us"] / _US), one["event"]
