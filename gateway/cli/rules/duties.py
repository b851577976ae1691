"""`domicile rules obligations`: a regime's duties with their clocks."""

import datetime
from pathlib import Path

import click

from gateway.cli.options import json_option, print_json, print_table
from gateway.cli.rules.reading import at_option, day_of, jurisdiction_of, loaded, policy_option
from routing_rules.explain import NOT_LEGAL_ADVICE, row_at
from routing_rules.pack.rows import Fact


@click.command(short_help="List a regime's duties with their clocks.")
@click.argument("regime")
@policy_option
@at_option
@json_option
def obligations(regime: str, policy_file: Path, at: datetime.datetime | None, as_json: bool) -> None:
    """List what REGIME (eu, us-ca, in …) asks to be done, by when, and where that is written."""
    found = loaded(policy_file)
    day = day_of(at)
    known = jurisdiction_of(regime, found, "REGIME")
    duties = found.law.duties(known.id, day)
    if as_json:
        print_json({"regime": known.id, "at": day, "duties": duties, "notice": NOT_LEGAL_ADVICE})
        return
    rows = []
    for duty in duties:
        row = row_at(duty.row, found)
        weak = f"{row.confidence}{', disputed' if row.status == 'disputed' else ''}" if isinstance(row, Fact) else ""
        clock = "first" if duty.deadline == 0 and duty.relative_to == "before" else _clock(duty.deadline, duty.unit)
        note = row.note if isinstance(row, Fact) else ""
        trigger, action = duty.trigger.replace("_", " "), duty.action.replace("_", " ")
        when = clock if clock == "first" else f"{clock} {duty.relative_to}"
        rows.append((trigger, action, when, weak, f"{duty.row.file}.csv:{duty.row.line}", note))
    columns = ("when", "do", "within", "confidence", "row", "note")
    print_table(columns, rows, title=f"{known.id}: {known.label}, on {day}")
    click.echo(NOT_LEGAL_ADVICE)


def _clock(deadline: int, unit: str) -> str:
    return f"{deadline} {unit.replace('_', ' ')}" if deadline else "at once, or no period stated"
