"""The command: options in, scenes in order, exit status out."""

import asyncio
import json
import sys
from pathlib import Path

import click
from rich.console import Console

from foundation.clock import SystemClock
from foundation.settings import SettingsError
from gateway.cli.client import refuse_unless_running
from gateway.cli.tour import at_home, engineers, law, outages, people, scenes
from gateway.cli.tour.report import Report
from gateway.cli.tour.stage import Stage, opened

TOUR_S_MAX = 300
PLAIN_COLUMNS = 130
"""Width of tables where the output is no terminal."""


@click.command()
@click.option(
    "--state", type=click.Path(path_type=Path), default=Path(".domicile"), show_default=True, help="The stack's folder."
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON instead of tables.")
def tour(state: Path, as_json: bool) -> None:
    """Play the product end to end on a running stack; exit status 0 if every promise was kept."""
    refuse_unless_running(state)
    console = Console(stderr=as_json, highlight=False, width=None if sys.stdout.isatty() else PLAIN_COLUMNS)
    report = Report(console)
    clock = SystemClock()
    started = clock.monotonic_s()
    try:
        asyncio.run(_play(state, report))
    except SettingsError as exc:
        raise click.ClickException(str(exc)) from exc
    except TimeoutError as exc:
        raise click.ClickException(f"the tour did not end within {TOUR_S_MAX} s; scene: {report.scene}") from exc
    report.figures()
    console.print(f"[dim]{clock.monotonic_s() - started:.1f} s. Grounds are summaries of law, not legal advice.[/]")
    if as_json:
        click.echo(json.dumps(report.document(), ensure_ascii=False, indent=2))
    sys.exit(1 if report.broken else 0)


async def _play(state: Path, report: Report) -> None:
    async with asyncio.timeout(TOUR_S_MAX), opened(state, report) as stage:
        await _scenes(stage, report)


async def _scenes(stage: Stage, report: Report) -> None:
    report.begin(1, "Sixty people of twelve countries sign up, residence first")
    residents = await scenes.sign_up_everybody(stage, people.everybody())
    if not residents:
        report.say("nobody has a home, so the rest cannot be played; `domicile status` shows what does not run")
        return
    report.begin(2, "They read and write, from home and from elsewhere")
    await scenes.read_and_write(stage, residents)
    report.begin(3, "Every row is at home, and nowhere else")
    await at_home.rows_are_at_home(stage, residents)
    report.begin(4, "A route is closed live, explained, and opened again")
    await law.route_closed_live(stage, residents)
    report.begin(5, "A Berliner in Virginia, by each of the three ways")
    await law.berliner_in_virginia(stage, residents)
    report.begin(6, "Payments of an Indian stay in India")
    await law.payments_of_india(stage)
    report.begin(7, "An engineer in Virginia looks at a subject in Frankfurt, for a while")
    await engineers.virginia_debugs_frankfurt(stage, residents)
    report.begin(8, "Valkey stops and comes back")
    await outages.valkey_stops(stage, residents)
    report.begin(9, "The directory stops and comes back")
    await outages.directory_stops(stage, residents)
    report.begin(10, "An epoch changes under load")
    await outages.epoch_changes_under_load(stage, residents[0])
    report.begin(11, "What was recorded")
    await at_home.what_was_recorded(stage, residents)
