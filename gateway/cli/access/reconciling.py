"""`domicile access reconcile`: statements that the ledger has, held against what Postgres itself has logged."""

import time
from pathlib import Path

import click
import msgspec

from cells.breakglass.statements import csvlog
from cells.breakglass.statements.csvlog import Logged, MalformedCsvlog
from cells.breakglass.statements.entries import MalformedSaid
from cells.breakglass.statements.history import history
from cells.breakglass.statements.reading import kept
from cells.breakglass.statements.reconciling import Reconciled, reconciled
from foundation.settings import SettingsError
from gateway.cli.ledger.which import Which, choose, told
from gateway.cli.options import json_option, print_json, state_option, utc

ROLE = "domicile_engineer"
LOOKS_MAX = 5
LOOK_S = 0.5
"""A statement is durable before it runs, and signed for a moment later."""
SHOWN_MAX = 20
_US = 1_000_000


@click.command()
@click.argument("csvlogs", nargs=-1, required=True, metavar="CSVLOG...", type=click.Path(path_type=Path, exists=True))
@click.option("--role", "roles", multiple=True, default=(ROLE,), show_default=True, help="Which the door logs in as.")
@click.option("--log", help="The cell's log: its folder; default: the stack's of --cell.")
@click.option(
    "--key", type=click.Path(path_type=Path, dir_okay=False), help="With --log: the file with the log's public key."
)
@click.option("--cell", default="eu-de", show_default=True, help="On the stack: which cell.")
@state_option
@json_option
def reconcile(
    csvlogs: tuple[Path, ...],
    roles: tuple[str, ...],
    log: str | None,
    key: Path | None,
    cell: str,
    state: Path,
    as_json: bool,
) -> None:
    """Hold the ledger's statements against Postgres' own log.

    CSVLOG: files of Postgres with log_destination = 'csvlog' and log_statement = 'all', or their folders. Exit status 1 where Postgres ran
    a statement of the door that the ledger does not have, or does not have one of which the ledger says that it ended well.
    """
    try:
        logged = csvlog.read(csvlog.files_in(csvlogs))
    except MalformedCsvlog as exc:
        raise SettingsError(str(exc)) from exc
    except OSError as exc:
        raise SettingsError(f"{exc.filename} cannot be read ({exc.strerror})") from exc
    found = _held_against(choose(log or cell, state, key, None), logged, roles)
    if as_json:
        print_json({**msgspec.to_builtins(found), "difference": found.difference})
    else:
        _tell(found, logged)
    if found.difference:
        raise click.exceptions.Exit(1)


def _held_against(chosen: Which, logged: Logged, roles: tuple[str, ...]) -> Reconciled:
    """Looks again while what was run last may not be signed for yet. Raises SettingsError."""
    found, size = _look(chosen, logged, roles)
    for _ in range(LOOKS_MAX):
        if not found.unrecorded:
            break
        time.sleep(LOOK_S)
        found, size = _look(chosen, logged, roles)
    chosen.state_reading("reconcile", 0, size, payloads=True)
    return found


def _look(chosen: Which, logged: Logged, roles: tuple[str, ...]) -> tuple[Reconciled, int]:
    """And how many entries there were. Raises SettingsError."""
    if chosen.folder is None:
        raise SettingsError("this needs the log's own folder: payloads are not served")
    with told():
        reader = chosen.reader()
        reader.verify(None, chosen.folder)
        try:
            whole = history(kept(reader, chosen.folder))
        except MalformedSaid as exc:
            raise SettingsError(str(exc)) from exc
    return reconciled(whole, logged, roles), reader.checkpoint.size


def _tell(found: Reconciled, logged: Logged) -> None:
    for line in found.unrecorded[:SHOWN_MAX]:
        text = " ".join(line.message.split())[:100]
        click.echo(f"NOT IN THE LEDGER: {utc(line.at_us / _US)} UTC, session {line.backend} of {line.user}: {text}")
    for one in found.missing[:SHOWN_MAX]:
        click.echo(f"NOT IN POSTGRES' LOG: entry {one.index}, statement {one.number} of session {one.session}")
    click.echo(
        f"{found.both} statements in both, difference {found.difference} "
        f"({len(found.unrecorded)} not in the ledger, {len(found.missing)} not in Postgres' log)"
    )
    click.echo(
        f"recorded and not run: {found.not_run}; at a time that these {logged.lines} lines do not span: {found.beyond}"
        + (f"; erased: {found.erased}" if found.erased else "")
    )
