"""`domicile directory`: who is where, under which epoch, since when and why; freezing and new epochs."""

import datetime
from pathlib import Path
from typing import Any

import click

from foundation.settings import SettingsError
from foundation.words import MalformedWord, parse_lookup_key, parse_subject_id
from gateway.cli.client import Directory, addresses
from gateway.cli.options import json_option, print_json, print_table, state_option

_COLUMNS = ("subject", "cell", "shard", "epoch", "state", "services", "residence", "regimes")
LIST_MAX = 1000


@click.group()
def directory() -> None:
    """Ask the directory: who is where, since when, why."""


def _row(placement: dict[str, Any]) -> tuple[Any, ...]:
    facts = placement["facts"]
    return (
        *(placement[name] for name in ("subject_id", "cell", "shard", "epoch", "state")),
        ", ".join(placement["services"]),
        facts["residence"],
        ", ".join(facts["regimes"]),
    )


def _subject(text: str) -> str:
    """Raises UsageError."""
    try:
        return parse_subject_id(text)
    except MalformedWord as exc:
        raise click.UsageError(str(exc)) from exc


@directory.command()
@click.option("--issuer", help="A region of the stack, or an issuer's URL; with --sub.")
@click.option("--sub", help="The person's `sub` at that issuer.")
@click.option("--email", help="A verified e-mail address.")
@click.option("--key", "keys", multiple=True, help="A lookup key as it stands in the directory.")
@state_option
@json_option
def resolve(
    issuer: str | None, sub: str | None, email: str | None, keys: tuple[str, ...], state: Path, as_json: bool
) -> None:
    """Find a person's home. Identifiers are blinded here; the directory sees lookup keys only."""
    asked = _parsed_keys(keys)
    if (issuer is None) != (sub is None):
        raise click.UsageError("--issuer and --sub go together")
    if not (asked or sub or email):
        raise click.UsageError("say whom: --issuer and --sub, --email, or --key")
    if email is not None and "@" not in email:
        raise click.UsageError("--email takes an address such as a@example.org")
    reached = Directory(state)
    if issuer is not None and sub is not None:
        asked += reached.blinder().login(_issuer(issuer, addresses(state).regions), sub)
    if email is not None:
        asked += reached.blinder().email(email)
    found = reached.post("/resolve", {"keys": asked})
    if as_json:
        print_json(found)
        return
    rows = [(key, *_row(placement)) for key, placement in found["found"].items()]
    if rows:
        print_table(("lookup key", *_COLUMNS), rows, title=f"as of event {found['as_of']}")
    for key in found["absent"]:
        click.echo(f"{key}: no home")


def _issuer(named: str, regions: dict[str, dict[str, str]]) -> str:
    """A region's issuer, or an issuer's own URL. Raises UsageError."""
    if named in regions:
        return regions[named]["issuer"]
    if "://" not in named:
        raise click.UsageError(f"--issuer takes a region ({', '.join(sorted(regions))}) or an issuer's URL")
    return named


def _parsed_keys(keys: tuple[str, ...]) -> list[str]:
    try:
        return [parse_lookup_key(key) for key in keys]
    except MalformedWord as exc:
        raise click.UsageError(str(exc)) from exc


@directory.command()
@click.argument("subject")
@state_option
@json_option
def show(subject: str, state: Path, as_json: bool) -> None:
    """Show SUBJECT's placement."""
    path = f"/subjects/{_subject(subject)}"
    found = Directory(state).get(path)
    if as_json:
        print_json(found)
    else:
        print_table(_COLUMNS, [_row(found["placement"])], title=f"as of event {found['as_of']}")


@directory.command(name="list")
@click.option("--cell", help="Only this cell's subjects.")
@click.option("--in-state", help="Only placements in this state: active, frozen, reserved …")
@click.option("--limit", type=click.IntRange(1, LIST_MAX), default=50, show_default=True)
@click.option("--cursor", help="Go on where an earlier list ended.")
@state_option
@json_option
def list_(cell: str | None, in_state: str | None, limit: int, cursor: str | None, state: Path, as_json: bool) -> None:
    """List placements."""
    found = Directory(state).get("/subjects", cell=cell, state=in_state, limit=limit, cursor=cursor)
    if as_json:
        print_json(found)
        return
    print_table(_COLUMNS, [_row(placement) for placement in found["subjects"]])
    _say_next(found)


def _say_next(found: dict[str, Any]) -> None:
    if found.get("next"):
        click.echo(f"more with --cursor {found['next']}")


@directory.command()
@click.argument("subject")
@click.option("--limit", type=click.IntRange(1, LIST_MAX), default=50, show_default=True)
@click.option("--cursor", help="Go on where an earlier list ended.")
@state_option
@json_option
def history(subject: str, limit: int, cursor: str | None, state: Path, as_json: bool) -> None:
    """Show what happened to SUBJECT's placement: who did it, and why."""
    path = f"/subjects/{_subject(subject)}/history"
    found = Directory(state).get(path, limit=limit, cursor=cursor)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each["number"], _utc(each["at"]), each["actor"], _end(each["from"]), _end(each["to"]), each["epoch"],
            each["reason"],
        )
        for each in found["entries"]
    ]  # fmt: skip
    print_table(("number", "at (UTC)", "actor", "from", "to", "epoch", "reason"), rows)
    _say_next(found)


def _utc(at: Any) -> str:
    if isinstance(at, int | float):
        return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
    return str(at)


def _end(value: Any) -> str:
    """One side of a change: a state, or a placement's part."""
    return " ".join(str(item) for item in value.values()) if isinstance(value, dict) else str(value or "")


@directory.command()
@click.argument("subject")
@state_option
@json_option
def services(subject: str, state: Path, as_json: bool) -> None:
    """Show for which services SUBJECT was placed; another service is refused with not_placed_for_service."""
    path = f"/subjects/{_subject(subject)}"
    placement = Directory(state).get(path)["placement"]
    if as_json:
        print_json({"subject_id": placement["subject_id"], "services": placement["services"]})
    else:
        print_table(("service",), [(service,) for service in placement["services"]])


def _change(action: str, subject: str, reason: str, epoch: int | None, state: Path, as_json: bool) -> None:
    """A compare-and-set by the epoch that is held, or by the one given."""
    path = f"/subjects/{_subject(subject)}"
    if not reason.strip() or not reason.isprintable():
        raise click.UsageError("--reason takes a line of text that says why")
    reached = Directory(state)
    held = reached.get(path)["placement"]["epoch"] if epoch is None else epoch
    changed = reached.post(f"{path}/{action}", {"epoch": held, "reason": reason})
    placement = changed.get("placement") if isinstance(changed, dict) else None
    if placement is None:
        raise SettingsError(f"the directory's answer to {action} holds no placement")
    if as_json:
        print_json(changed)
    else:
        print_table(_COLUMNS, [_row(placement)], title=f"epoch {held} → {placement['epoch']}")


def _changes(command: Any) -> Any:
    for decorate in (
        json_option,
        state_option,
        click.option(
            "--epoch",
            type=click.IntRange(min=1),
            help="Only if this epoch holds still; default: the one that holds now.",
        ),
        click.option("--reason", required=True, help="Why; it stands in the history."),
        click.argument("subject"),
    ):
        command = decorate(command)
    return command


@directory.command()
@_changes
def freeze(subject: str, reason: str, epoch: int | None, state: Path, as_json: bool) -> None:
    """Let SUBJECT's rows be read but not written, under a new epoch."""
    _change("freeze", subject, reason, epoch, state, as_json)


@directory.command()
@_changes
def unfreeze(subject: str, reason: str, epoch: int | None, state: Path, as_json: bool) -> None:
    """Let SUBJECT's rows be written again, under a new epoch."""
    _change("unfreeze", subject, reason, epoch, state, as_json)


@directory.command()
@_changes
def epoch(subject: str, reason: str, epoch: int | None, state: Path, as_json: bool) -> None:
    """Give SUBJECT a new epoch: every decision made before it is refused."""
    _change("epoch", subject, reason, epoch, state, as_json)
