"""`domicile records contracts diff`: contracts against live tables, or against another version of themselves."""

import sys
from pathlib import Path
from typing import Any

import click

from cells.records.contracts import Contract
from cells.schema.compare import Way, differences
from cells.schema.core import ABSENT, Table, mismatches
from foundation.settings import SettingsError
from gateway.cli.contracts.shards import faultless, folder_of, looked, reached, shards_option
from gateway.cli.options import json_option, print_json, print_table


@click.command()
@click.argument("old", type=click.Path(path_type=Path), required=False)
@click.argument("new", type=click.Path(path_type=Path), required=False)
@shards_option
@json_option
def diff(old: Path | None, new: Path | None, dsn_env: tuple[str, ...], state: Path, as_json: bool) -> None:
    """Compare the contracts of OLD (default: the stack's) with live tables, or with the contracts of NEW.

    With live tables: exit status 1 where anything differs, new columns included. With NEW: exit status 1 where somebody may see or do
    more than before.
    """
    if new is not None and old is not None:
        if dsn_env:
            raise click.UsageError("two versions of contracts are compared without a shard")
        sys.exit(_between(old, new, as_json=as_json))
    sys.exit(_against_tables(folder_of(state, old), state, dsn_env, as_json=as_json))


def _between(old: Path, new: Path, *, as_json: bool) -> int:
    found = differences(faultless(old).contracts, faultless(new).contracts)
    if as_json:
        print_json(found)
    elif not found:
        click.echo("nobody may see or do anything else than before")
    else:
        print_table(
            ("", "table", "column", "what"), [(one.way.value, one.table, one.column, one.what) for one in found]
        )
    return 1 if any(one.way is Way.WIDENS for one in found) else 0


def _against_tables(folder: Path, state: Path, dsn_env: tuple[str, ...], *, as_json: bool) -> int:
    contracts = faultless(folder).contracts
    shards = looked(reached(state, dsn_env), list(contracts))
    missed = [shard for shard in shards if shard.unreachable is not None]
    if missed:
        raise SettingsError(f"could not be asked: {', '.join(f'{one.shard} ({one.unreachable})' for one in missed)}")
    found = [
        {"table": name, "shard": shard.shard, "kind": kind, "what": what}
        for name, contract in sorted(contracts.items())
        for shard in shards
        for kind, what in _differences(contract, shard.tables.get(name, ABSENT))
    ]
    _print(found, as_json=as_json)
    return 1 if found else 0


def _differences(contract: Contract, table: Table) -> list[tuple[str, str]]:
    """(kind, what): `drift` contradicts the contract, `new` is a column that it does not name."""
    new = [name for name in table.columns if name not in contract.columns]
    return [
        *(("drift", one.what) for one in mismatches(contract, table)),
        *(("new", f"column {name} ({table.columns[name].type}), unclassified, not shown") for name in new),
    ]


def _print(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    elif not found:
        click.echo("contracts and tables say the same")
    else:
        print_table(("table", "shard", "", "what"), [tuple(one.values()) for one in found])
