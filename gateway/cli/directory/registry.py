"""`domicile directory registry`: addresses, weights and drains of what policy declares."""

from typing import Any

import click

from gateway.cli.client import Directory
from gateway.cli.options import json_option, print_json, print_table, utc
from gateway.cli.reach import Reach, reach_option

_COLUMNS = ("entry", "version", "drain", "weight", "addresses")
HISTORY_MAX = 1000


@click.group(short_help="Show or change who takes new people, and where.")
def registry() -> None:
    """Say which cells, shards and services take new people, with what weight, at which of policy's addresses.

    An ENTRY is named as in the list: regions/eu, cells/eu-de, cells/eu-de/shards/s1, services/orders/cells/eu-de.
    """


@registry.command(name="list")
@reach_option
@json_option
def list_(reach: Reach, as_json: bool) -> None:
    """List every entry that policy declares."""
    found = Directory(reach).get("/registry")
    if as_json:
        print_json(found)
    else:
        print_table(_COLUMNS, [_row(one) for one in found["entries"]], title=f"as of event {found['as_of']}")


@registry.command()
@click.argument("entry", required=False)
@click.option("--limit", type=click.IntRange(1, HISTORY_MAX), default=50, show_default=True)
@click.option("--cursor", help="Go on where an earlier page ended.")
@reach_option
@json_option
def history(entry: str | None, limit: int, cursor: str | None, reach: Reach, as_json: bool) -> None:
    """Show who said what of ENTRY (all entries where none is named), when and why; the newest first."""
    found = Directory(reach).get("/registry/history", entry=entry, limit=limit, cursor=cursor)
    if as_json:
        print_json(found)
        return
    rows = [(*_row(one), utc(one["at"]), one["actor"], one["reason"]) for one in found["entries"]]
    print_table((*_COLUMNS, "at (UTC)", "actor", "reason"), rows)
    if found["next"]:
        click.echo(f"more with --cursor {found['next']}")


def _changes(command: Any) -> Any:
    for decorate in (
        json_option,
        reach_option,
        click.option(
            "--version",
            "held",
            type=click.IntRange(min=0),
            help="Only if the entry is at this version; default: as it is now.",
        ),
        click.option("--reason", required=True, help="Why; it stands in the history."),
        click.argument("entry"),
    ):
        command = decorate(command)
    return command


@registry.command()
@_changes
def drain(entry: str, reason: str, held: int | None, reach: Reach, as_json: bool) -> None:
    """Place nobody new in ENTRY from now on. Who is there stays, and is served as before."""
    _state(entry, reason, held, reach, as_json, drain=True)


@registry.command()
@_changes
def undrain(entry: str, reason: str, held: int | None, reach: Reach, as_json: bool) -> None:
    """Place new people in ENTRY again."""
    _state(entry, reason, held, reach, as_json, drain=False)


@registry.command(name="set")
@_changes
@click.option(
    "--weight", type=click.FloatRange(min=0, min_open=True), help="Of a cell or shard: its share of new people."
)
@click.option("--policy-weight", is_flag=True, help="Policy's own weight again.")
@click.option(
    "--address", "addresses", multiple=True, help="Of a service in a cell: one of policy's hosts; may be repeated."
)
@click.option("--policy-addresses", is_flag=True, help="All of policy's hosts again.")
def set_(
    entry: str,
    reason: str,
    held: int | None,
    reach: Reach,
    as_json: bool,
    weight: float | None,
    policy_weight: bool,
    addresses: tuple[str, ...],
    policy_addresses: bool,
) -> None:
    """Give ENTRY a weight or addresses; what is not named stays as it is."""
    if (weight is not None and policy_weight) or (addresses and policy_addresses):
        raise click.UsageError("say either a value, or that policy's own holds again")
    said: dict[str, Any] = {}
    if weight is not None or policy_weight:
        said["weight"] = weight
    if addresses or policy_addresses:
        said["addresses"] = list(addresses) or None
    if not said:
        raise click.UsageError("say what: --weight, --policy-weight, --address or --policy-addresses")
    _state(entry, reason, held, reach, as_json, **said)


def _state(entry: str, reason: str, held: int | None, reach: Reach, as_json: bool, **said: Any) -> None:
    """Reads the entry, changes what is said, and puts it if it is as read (or at the version given)."""
    path = f"/registry/{_path(entry)}"
    reached = Directory(reach)
    now = reached.get(path)["entry"]
    body = {name: now[name] for name in ("drain", "weight", "addresses")} | said | {"reason": reason}
    version = now["version"] if held is None else held
    stated = reached.put(path, body, {"if-match": f'"{version}"'})
    if as_json:
        print_json(stated)
    else:
        print_table(_COLUMNS, [_row(stated["entry"])])


def _path(entry: str) -> str:
    """Raises UsageError for what cannot be the name of an entry."""
    if not entry or not all(part.isascii() and part.replace("-", "").isalnum() for part in entry.split("/")):
        raise click.UsageError("an entry is named as in `domicile directory registry list`, such as cells/eu-de")
    return entry


def _row(entry: dict[str, Any]) -> tuple[Any, ...]:
    weight = "policy's" if entry["weight"] is None else entry["weight"]
    return (
        entry["entry"], entry["version"], "yes" if entry["drain"] else "", weight if _weighs(entry["entry"]) else "",
        ", ".join(entry["addresses"] or ()) or ("policy's" if entry["entry"].startswith("services/") else ""),
    )  # fmt: skip


def _weighs(entry: str) -> bool:
    return entry.startswith("cells/")
