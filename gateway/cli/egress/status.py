"""`domicile egress status`: the runs of a cell, those under way and those released."""

from pathlib import Path
from typing import Any

import click

from cells.egress.runs import Journal, journals
from gateway.cli.egress.which import Which, which_option
from gateway.cli.options import json_option, print_json, print_table, utc


@click.command()
@which_option
@json_option
def status(which: Which, as_json: bool) -> None:
    """Show every run of the cell: for whom, how far, and what is held in quarantine."""
    found = [described(one) for one in journals(Path(which.egress.folder))]
    if as_json:
        print_json(found)
        return
    rows = [
        (one["id"], one["table"], one["to"], one["for"], one["state"], one["rows"], one["held"], utc(one["begun_at"]))
        for one in found
    ]
    print_table(("run", "table", "to", "for", "state", "rows", "held", "begun (UTC)"), rows)


def described(journal: Journal) -> dict[str, Any]:
    """`state`: unfinished or sealed (both go on by the same command), released. `held`: rows in quarantine. `put`: files that lie at
    the sink of a run that is not released."""
    run, report, parts = journal.run, journal.report(), journal.parts()
    if report is None:
        rows, held = sum(part.rows for part in parts), sum(one.rows for part in parts for one in part.held)
    else:
        rows, held = report["rows"], sum(one["rows"] for one in report["held"])
    state = "released" if journal.released else "unfinished" if journal.sealed is None else "sealed"
    return {
        "id": run.id,
        "table": run.table,
        "to": run.destination,
        "for": run.purpose,
        "format": run.format.value,
        "state": state,
        "rows": rows,
        "held": held,
        "begun_at": run.begun_at,
        "folder": run.place if journal.released else str(journal.staging),
        "put": sum(journal.put().values()),
        "report": report,
    }
