"""`domicile records contracts check`: files alone, and each against the live tables of every shard."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cells.records.contracts import Contract
from cells.schema.core import ABSENT, mismatches, unclassified
from cells.schema.files import read
from gateway.cli.contracts.shards import Looked, folder_of, looked, reached, shards_option
from gateway.cli.options import json_option, print_json, print_table


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--offline", is_flag=True, help="Check the files alone, no table.")
@shards_option
@json_option
def check(folder: Path | None, offline: bool, dsn_env: tuple[str, ...], state: Path, as_json: bool) -> None:
    """Check the contracts of FOLDER (default: the stack's), and whether live tables fit them.

    Exit status 1 where a file has a mistake, a table does not fit, or a shard could not be asked.
    """
    if offline and dsn_env:
        raise click.UsageError("--offline asks no shard; --dsn-env names one")
    found = read(folder_of(state, folder))
    shards: Sequence[Looked] = ()
    if not offline and found.contracts:
        shards = looked(reached(state, dsn_env), list(found.contracts))
    entries = list(_entries(found.contracts, shards))
    if as_json:
        print_json({"contracts": sorted(found.contracts), "mistakes": found.mistakes, "tables": entries})
    else:
        for one in found.mistakes:
            click.echo(f"{one.file}:{one.line}: {one.what}")
        _show(found.contracts, entries, offline=offline)
    unfit = any(entry["mismatches"] or entry["unreachable"] for entry in entries)
    if found.mistakes or unfit or not found.contracts:
        sys.exit(1)


def _entries(contracts: Mapping[str, Contract], shards: Sequence[Looked]) -> Iterator[dict[str, Any]]:
    for name, contract in sorted(contracts.items()):
        for shard in shards:
            table = shard.tables.get(name, ABSENT)
            asked = shard.unreachable is None
            yield {
                "table": name,
                "shard": shard.shard,
                "unreachable": shard.unreachable,
                "mismatches": mismatches(contract, table) if asked else (),
                "unclassified": unclassified(contract, table),
                "triggers": table.triggers,
            }


def _show(contracts: Mapping[str, Contract], entries: Sequence[Mapping[str, Any]], *, offline: bool) -> None:
    rows: list[tuple[str, str, str, str]] = []
    for entry in entries:
        where = entry["table"], entry["shard"]
        if entry["unreachable"]:
            rows.append((*where, f"could not be asked: {entry['unreachable']}", ""))
        elif entry["mismatches"]:
            rows += [(*where, f"{one.what} (stops {one.stops.value})", one.remedy) for one in entry["mismatches"]]
        else:
            rows.append((*where, "fits", _noted(entry)))
    if offline or not entries:
        click.echo(f"{len(contracts)} contracts without a mistake; no table was looked at")
    else:
        print_table(("table", "shard", "", "what to do"), rows)


def _noted(entry: Mapping[str, Any]) -> str:
    """What contradicts nothing and should be known."""
    notes = []
    if entry["unclassified"]:
        notes.append(f"unclassified, not shown: {', '.join(entry['unclassified'])}")
    if entry["triggers"]:
        notes.append(f"may change what is written: trigger {', '.join(entry['triggers'])}")
    return "; ".join(notes)
