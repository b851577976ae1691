"""`domicile egress status`: the runs of a cell, those under way and those released."""

from pathlib import Path
from typing import Any

import click
import msgspec

from cells.egress.runs import Journal, journals
from cells.egress.telling import reported, told
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
    """As `RunTold`, with the owner's report once the run is sealed, keys of batches in quarantine in it."""
    said = msgspec.to_builtins(told(journal, reported(journal)))
    purpose = said.pop("purpose")
    return {**said, "for": purpose, "report": journal.report()}
