"""`domicile access list | show | report | audit-roles`: what is looked at."""

from typing import Any

import click

from cells.breakglass.words import Phase
from gateway.cli.access.telling import table, tell
from gateway.cli.access.which import Asker, asker_option, id_argument
from gateway.cli.options import json_option, print_json, print_table, utc

_US = 1_000_000


@click.command(name="list")
@click.option("--phase", type=click.Choice([one.value for one in Phase]), help="Only those that stand there.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="At most so many.")
@asker_option("auditor")
@json_option
def list_(phase: str | None, limit: int, asker: Asker, as_json: bool) -> None:
    """List requests and grants, the newest first. Engineers see their own."""
    told = asker.get("/grants", phase=phase, limit=limit)
    if as_json:
        print_json(told)
        return
    table(told["grants"])


@click.command()
@id_argument("grant")
@asker_option("auditor")
@json_option
def show(grant: str, asker: Asker, as_json: bool) -> None:
    """Show one request or grant."""
    tell(asker.get(f"/grants/{grant}"), as_json=as_json)


@click.command()
@click.option("--subject", help="About this subject.")
@click.option("--engineer", help="By this engineer: engineer:<sub>.")
@click.option("--since-us", type=click.IntRange(min=0), help="Asked for no earlier (microseconds since 1970).")
@click.option("--until-us", type=click.IntRange(min=0), help="Nothing later. Default: now.")
@click.option(
    "--size", type=click.IntRange(min=0), help="Of the door's entries those below this one of the log. Default: all."
)
@click.option("--steps", type=click.IntRange(min=0), help="So many first steps. Default: all up to then.")
@click.option("--statements", is_flag=True, help="With each statement of the door.")
@asker_option("auditor")
@json_option
def report(
    subject: str | None,
    engineer: str | None,
    since_us: int | None,
    until_us: int | None,
    size: int | None,
    steps: int | None,
    statements: bool,
    asker: Asker,
    as_json: bool,
) -> None:
    """Report who asked for whose data, why, where from, on whose approval, and saw which columns of it."""
    told = asker.get(
        "/report",
        subject=subject,
        engineer=engineer,
        since_us=since_us,
        until_us=until_us,
        size=size,
        steps=steps,
        statements=1 if statements else None,
    )
    if as_json:
        print_json(told)
        return
    print_report(told)


def print_report(told: dict[str, Any]) -> None:
    for one in told["grants"]:
        tell(one, as_json=False)
        for intent in one["grant"]["intents"]:
            signed = f"entry {intent['index']} of {intent['size']}" if intent["digest"] else "never signed"
            where = f"seen in {intent['presence']['observed']}, declared {intent['presence']['declared']}"
            click.echo(f"  certificate {intent['serial']} for {intent['shard']}, {where}: {signed}")
        for session in one["sessions"]:
            _print_session(session)
    count, asked = len(told["grants"]), told["asked"]
    click.echo(
        f"{count} grant{'' if count == 1 else 's'}, from {told['steps']} steps up to {asked['until_us']}, "
        f"the door's from {asked['size']} entries"
    )


def _print_session(session: dict[str, Any]) -> None:
    ends = session["end"]
    until = "no end recorded" if ends is None else f"until {utc(ends['at_us'] / _US)} UTC ({ends['why']})"
    place = "inside" if session["inside"] else "outside"
    click.echo(
        f"  session {session['session']} on {session['shard']} from {place}, {utc(session['at_us'] / _US)} UTC, {until}: "
        f"{session['statements']} statements, {session['rows']} rows, {session['bytes']} bytes"
    )
    for subject in session["subjects"]:
        click.echo(f"    could see {subject}")
    for column in session["columns"]:
        click.echo(f"    saw {column['source'] or column['name']}{', masked' if column['masked'] else ''}")
    for ran in session["ran"]:
        came = ran["withheld"] or ran["error"] or ran["tag"] or "nothing recorded"
        click.echo(f"    {ran['number']}. {' '.join(ran['text'].split())}")
        click.echo(f"       {came}, {ran['rows']} rows, entry {ran['index']}")


@click.command(name="audit-roles")
@asker_option("auditor")
@json_option
def audit_roles(asker: Asker, as_json: bool) -> None:
    """Show who may log in to the shards' database servers.

    Exit status 1 where anybody holds a login that stands: a role beside those of the services themselves.
    """
    told = asker.get("/roles")
    if as_json:
        print_json(told)
    else:
        rows = [
            (shard["shard"], login["role"], kind, ", ".join(login["may"]))
            for shard in told["shards"]
            for kind, logins in (
                ("service", shard["services"]),
                ("door, for seconds", shard["door"]),
                ("STANDING", shard["standing"]),
            )
            for login in logins
        ]
        print_table(("shard", "login", "", "may besides"), rows)
        standing = sum(len(shard["standing"]) for shard in told["shards"])
        click.echo(f"{len(told['shards'])} shards, {standing} logins that stand")
    if not told["clean"]:
        raise click.exceptions.Exit(1)
