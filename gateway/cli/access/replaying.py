"""`domicile access replay`: everything that break-glass says, from the ledger's entries alone, held against what the cell says."""

from pathlib import Path
from typing import Any

import click
import msgspec

from cells.breakglass.logged import steps as logged_steps
from cells.breakglass.replay import Asked, Unfit, fold, steps_until
from cells.breakglass.replay import report as reported
from cells.breakglass.statements.entries import MalformedSaid
from cells.breakglass.statements.history import history as door_history
from cells.breakglass.statements.reading import kept
from cells.breakglass.steps import Taken
from cells.breakglass.words import parse_engineer
from foundation.ledger.reading import LogReader
from foundation.settings import SettingsError
from foundation.words import MalformedWord, parse_subject_id
from gateway.cli.access.looking import print_report
from gateway.cli.access.which import Asker, asker_option
from gateway.cli.ledger.which import Which, choose, told
from gateway.cli.options import json_option, print_json

AT = click.IntRange(0, 1 << 53)
"""Microseconds since 1970, entries or steps."""


@click.command()
@click.option("--log", help="The cell's log: its folder; default: the stack's of --cell.")
@click.option(
    "--key", type=click.Path(path_type=Path, dir_okay=False), help="With --log: the file with the log's public key."
)
@click.option("--report", "as_report", is_flag=True, help="Print the report that the ledger gives.")
@click.option("--subject", help="With --report: about this subject.")
@click.option("--engineer", help="With --report: by this engineer.")
@click.option("--since-us", type=AT, default=0, help="With --report: asked for no earlier.")
@click.option("--until-us", type=AT, help="With --report: nothing later; default: the last step.")
@click.option("--size", type=AT, help="With --report: of the door's entries those below; default: all.")
@click.option("--steps", type=AT, help="With --report: so many first steps; default: all up to then.")
@click.option("--statements", is_flag=True, help="With --report: with each statement of the door.")
@click.option("--offline", is_flag=True, help="Do not ask the cell.")
@asker_option("auditor")
@json_option
def replay(
    *,
    log: str | None,
    key: Path | None,
    as_report: bool,
    subject: str | None,
    engineer: str | None,
    since_us: int,
    until_us: int | None,
    size: int | None,
    steps: int | None,
    statements: bool,
    offline: bool,
    asker: Asker,
    as_json: bool,
) -> None:
    """Replay break-glass from the ledger, every entry and payload held against what was signed.

    Exit status 1 where the ledger holds a step that could not be taken, or comes to another state than the cell says.
    """
    history, reader, folder = _history(choose(log or asker.cell, asker.state, key, None))
    try:
        book = fold(history)
        until_us = book.at_us if until_us is None else until_us
        if steps is not None and steps > len(history):
            raise SettingsError(f"the log has {len(history)} steps")
        if size is not None and size > reader.checkpoint.size:
            raise SettingsError(f"the log has {reader.checkpoint.size} entries")
        asked = Asked(
            until_us=until_us,
            size=reader.checkpoint.size if size is None else size,
            steps=steps_until(history, until_us) if steps is None else steps,
            since_us=since_us,
            subject=None if subject is None else parse_subject_id(subject),
            engineer=None if engineer is None else parse_engineer(engineer),
            statements=statements,
        )
        if as_report:
            with told():
                door = door_history(kept(reader, folder, asked.size, asked.until_us), asked.scope)
            _tell(msgspec.to_builtins(reported(history, door, asked)), as_json)
            return
    except (Unfit, MalformedSaid, MalformedWord) as exc:
        raise SettingsError(str(exc)) from exc
    state = {"steps": len(history), "digest": book.digest()}
    said = None if offline else asker.get("/state")
    same = said is None or said == state
    if as_json:
        print_json({**state, "cell": said, "same": same})
    else:
        against = (
            "not held against the cell" if said is None else "as the cell says" if same else f"the cell says {said}"
        )
        click.echo(f"{len(history)} steps, digest {state['digest']}: {against}")
    if not same:
        raise click.exceptions.Exit(1)


def _history(chosen: Which) -> tuple[list[Taken], LogReader, Path]:
    """Every step that stands in the log, oldest first; by which reader, and where the log lies. Raises SettingsError."""
    with told():
        reader = chosen.reader()
        reader.verify(None, chosen.folder)
        if chosen.folder is None:
            raise SettingsError("a replay needs the log's own folder: payloads are not served")
        try:
            steps = list(logged_steps(reader, chosen.folder))
        except Unfit as exc:
            raise SettingsError(str(exc)) from exc
    chosen.state_reading("replay", 0, reader.checkpoint.size, payloads=True)
    return steps, reader, chosen.folder


def _tell(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    print_report(report)
