"""`domicile directory feed`: how far back the feed of changes can be followed, and its histories."""

import click

from gateway.cli.client import Directory
from gateway.cli.options import json_option, print_json, print_table, utc
from gateway.cli.reach import Reach, reach_option


@click.group()
def feed() -> None:
    """See how the feed of changes stands."""


@feed.command()
@reach_option
@json_option
def status(reach: Reach, as_json: bool) -> None:
    """Show which events can be had, and which histories there were: a new one begins when a restored directory has lost events."""
    found = Directory(reach).get("/feed/status")
    if as_json:
        print_json(found)
        return
    oldest = "none" if found["oldest_at"] is None else f"the oldest of {utc(found['oldest_at'])}"
    click.echo(f"event {found['head']}, {found['events']} can be had ({oldest}), epoch {found['epoch']}")
    rows = [
        (each["history"], each["began"], each["epoch"], utc(each["at"]), each["actor"], each["reason"])
        for each in found["histories"]
    ]
    print_table(("history", "after event", "after epoch", "at (UTC)", "actor", "reason"), rows)
