"""`domicile records contracts generate`: contracts for live tables, in which nobody may do anything yet."""

import sys
from pathlib import Path

import click

from cells.schema.core import PLAIN, Table
from cells.schema.files import check, read
from cells.schema.generate import contract_text, merged_text
from foundation.settings import SettingsError
from gateway.cli.contracts.shards import looked, reached, shards_option


@click.command()
@click.argument("table", required=False)
@click.option("--all", "all_tables", is_flag=True, help="Every table of schema product; goes with --into.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of contracts to write to, instead of printing.",
)
@click.option("--merge", is_flag=True, help="With --into: add new columns to a contract that is there, unclassified.")
@click.option("--force", is_flag=True, help="With --into: write anew what is there, classifications and all.")
@shards_option
def generate(
    table: str | None,
    all_tables: bool,
    into: Path | None,
    merge: bool,
    force: bool,
    dsn_env: tuple[str, ...],
    state: Path,
) -> None:
    """Write the contract of TABLE from a live shard: every column restricted until it is classified."""
    _check_usage(table, all_tables=all_tables, into=into, merge=merge, force=force)
    tables = _tables(state, dsn_env, table)
    if into is None:
        for name, found in tables.items():
            click.echo(contract_text(name, found), nl=False)
        return
    into.mkdir(parents=True, exist_ok=True)
    left = [name for name, found in tables.items() if not _written(into, name, found, merge=merge, force=force)]
    if left:
        sys.exit(1)


def _check_usage(table: str | None, *, all_tables: bool, into: Path | None, merge: bool, force: bool) -> None:
    if (table is None) == (not all_tables):
        raise click.UsageError("name a TABLE, or give --all")
    if into is None and (all_tables or merge or force):
        raise click.UsageError("--all, --merge and --force go with --into FOLDER")
    if merge and force:
        raise click.UsageError("--merge keeps what is there, --force does not")


def _tables(state: Path, dsn_env: tuple[str, ...], table: str | None) -> dict[str, Table]:
    """Tables as the first shard that answers has them. Raises SettingsError."""
    shards = looked(reached(state, dsn_env), None if table is None else [table])
    answered = next((shard for shard in shards if shard.unreachable is None), None)
    if answered is None:
        raise SettingsError(
            f"no shard could be asked: {', '.join(f'{one.shard} ({one.unreachable})' for one in shards)}"
        )
    tables = {name: found for name, found in answered.tables.items() if found.kind in PLAIN}
    if not tables:
        raise SettingsError(f"shard {answered.shard} has no table product.{table or '*'}")
    return tables


def _written(into: Path, name: str, table: Table, *, merge: bool, force: bool) -> bool:
    """False where a contract is there and was left alone. Says what was done."""
    path = read(into).sources.get(name)
    target = path or into / f"{name}.yaml"
    if not target.exists() or force:
        target.write_text(contract_text(name, table), encoding="utf-8")
        click.echo(f"{target}: written, {len(table.columns)} columns, nothing classified")
        return True
    if not merge:
        click.echo(f"{target}: is there already; --merge adds new columns, --force writes it anew", err=True)
        return False
    _merge(target, table)
    return True


def _merge(path: Path, table: Table) -> None:
    """Raises SettingsError where the contract has a mistake."""
    text = path.read_text(encoding="utf-8")
    contract, mistakes = check(text, str(path))
    if contract is None:
        raise SettingsError(f"{path}:{mistakes[0].line}: {mistakes[0].what}; mend it before merging into it")
    merged, added = merged_text(text, contract, table)
    again, mistakes = check(merged, str(path))
    if again is None or any(again.columns.get(name) != column for name, column in contract.columns.items()):
        raise SettingsError(
            f"{path}: new columns cannot be added to a file of this form; add {', '.join(added)} by hand"
        )
    if added:
        path.write_text(merged, encoding="utf-8")
    gone = [name for name in contract.columns if name not in table.columns]
    click.echo(f"{path}: added {', '.join(added)}" if added else f"{path}: nothing to add")
    if gone:
        click.echo(f"{path}: the table no longer has {', '.join(gone)}; take them out yourself", err=True)
