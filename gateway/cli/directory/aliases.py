"""`domicile directory aliases`: claims of identifiers that are neither confirmed nor given back, and an operator's word on one."""

from typing import Any

import click

from foundation.words import MalformedWord, parse_subject_id
from gateway.cli.client import Directory
from gateway.cli.options import json_option, print_json, print_table, utc
from gateway.cli.reach import Reach, reach_option

_COLUMNS = ("claim", "cell", "of", "subject", "state", "lease until (UTC)")
LIST_MAX = 1000
OPEN = ("claimed", "unresolved")


@click.group()
def aliases() -> None:
    """See which claims of aliases nobody settled, and release one."""


@aliases.command(name="list")
@click.option("--cell", help="Only claims of this cell.")
@click.option("--in-state", type=click.Choice(OPEN), help="claimed: its lease runs; unresolved: it ran out.")
@click.option("--limit", type=click.IntRange(1, LIST_MAX), default=50, show_default=True)
@click.option("--cursor", help="Go on where an earlier list ended.")
@reach_option
@json_option
def list_(cell: str | None, in_state: str | None, limit: int, cursor: str | None, reach: Reach, as_json: bool) -> None:
    """List claims that are neither confirmed nor released.

    Cells settle theirs within seconds of a lease's end. What stays unresolved is known to no shard of its cell.
    """
    found = Directory(reach).get("/aliases", cell=cell, state=in_state, limit=limit, cursor=cursor)
    if as_json:
        print_json(found)
        return
    print_table(_COLUMNS, [_row(claim) for claim in found["claims"]])
    if found["next"]:
        click.echo(f"more with --cursor {found['next']}")


@aliases.command()
@click.argument("claim_id")
@reach_option
@json_option
def show(claim_id: str, reach: Reach, as_json: bool) -> None:
    """Show the claim CLAIM_ID, and what happened to it."""
    found = Directory(reach).get(_path(claim_id))
    if as_json:
        print_json(found)
        return
    print_table(_COLUMNS, [_row(found["claim"])])
    rows = [
        (each["number"], utc(each["at"]), each["from"], each["to"], each["actor"], each["reason"])
        for each in found["entries"]
    ]
    print_table(("#", "at (UTC)", "from", "to", "actor", "reason"), rows)


@aliases.command(short_help="Give back what the claim CLAIM_ID holds.")
@click.argument("claim_id")
@click.option("--reason", required=True, help="Why; it stands in the claim's history.")
@reach_option
@json_option
def release(claim_id: str, reason: str, reach: Reach, as_json: bool) -> None:
    """Give back what the claim CLAIM_ID holds: anybody may claim it from then on.

    For claims that stay unresolved, since no shard of their cell knows of them. A confirmed alias is refused: its cell alone gives it back.
    """
    directory = Directory(reach)
    before = directory.get(_path(claim_id))["claim"]["state"]
    answer = directory.post("/aliases/release", {"claim_id": claim_id, "reason": reason})
    claim = answer["claim"]
    if as_json:
        print_json({"as_of": answer["as_of"], "before": before, "claim": claim})
        return
    if before == "released":
        click.echo(f"claim {claim_id} was released before; nothing is changed")
        return
    whose = f"subject {claim['subject_id']}" if claim["subject_id"] else "somebody not placed"
    click.echo(
        f"given back: {_kinds(claim)}, {before} by cell {claim['cell']} for {whose}; free for anybody as of event {answer['as_of']}"
    )


def _path(claim_id: str) -> str:
    """Raises UsageError for what cannot be the id of a claim."""
    try:
        return f"/aliases/claims/{parse_subject_id(claim_id)}"
    except MalformedWord as exc:
        raise click.UsageError("CLAIM_ID is a UUID, as `domicile directory aliases list` shows it") from exc


def _row(claim: dict[str, Any]) -> tuple[Any, ...]:
    until = claim["expires_at"]
    return (
        claim["claim_id"], claim["cell"], _kinds(claim), claim["subject_id"] or "not placed yet", claim["state"],
        "" if until is None else utc(until),
    )  # fmt: skip


def _kinds(claim: dict[str, Any]) -> str:
    return ", ".join(claim["kinds"])
