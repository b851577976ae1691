"""`domicile directory`: who is where, under which epoch, since when and why; freezing and new epochs."""

from pathlib import Path
from typing import Any

import click

from deploy.local.layout import Paths
from foundation.identifiers import MalformedIdentifier
from foundation.settings import SettingsError
from foundation.words import LookupKey, MalformedWord, SubjectId, parse_lookup_key, parse_slug, parse_subject_id
from gateway.cli import truth
from gateway.cli.client import Directory, addresses, blinder_of
from gateway.cli.options import json_option, print_json, print_table, utc
from gateway.cli.reach import Reach, Stack, reach_option

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


def parsed_subject(text: str) -> SubjectId:
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
@click.option(
    "--blinding-keyring",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --directory and --sub or --email: the keyring that the gateways blind by.",
)
@reach_option
@json_option
def resolve(
    issuer: str | None,
    sub: str | None,
    email: str | None,
    keys: tuple[str, ...],
    blinding_keyring: Path | None,
    reach: Reach,
    as_json: bool,
) -> None:
    """Find a person's home. Identifiers are blinded here; the directory sees lookup keys only."""
    asked = _parsed_keys(keys)
    if (issuer is None) != (sub is None):
        raise click.UsageError("--issuer and --sub go together")
    if not (asked or sub or email):
        raise click.UsageError("say whom: --issuer and --sub, --email, or --key")
    if sub is not None or email is not None:
        asked += _blinded(reach, issuer, sub, email, blinding_keyring)
    found = Directory(reach).post("/resolve", {"keys": asked})
    if as_json:
        print_json(found)
        return
    rows = [(key, *_row(placement)) for key, placement in found["found"].items()]
    if rows:
        print_table(("lookup key", *_COLUMNS), rows, title=f"as of event {found['as_of']}")
    for key in found["absent"]:
        click.echo(f"{key}: no home")


def _blinded(
    reach: Reach, issuer: str | None, sub: str | None, email: str | None, keyring: Path | None
) -> list[LookupKey]:
    """Raises UsageError, and SettingsError for a keyring that cannot be read."""
    if isinstance(reach, Stack):
        regions = addresses(reach.state).regions
        keyring = keyring or Paths(reach.state.absolute()).keyring("blinding")
    else:
        regions = {}
    if keyring is None:
        raise click.UsageError("identifiers are blinded here: --blinding-keyring FILE, or ask by --key")
    blinder = blinder_of(keyring)
    asked = blinder.login(_issuer(issuer, regions), sub) if issuer is not None and sub is not None else []
    try:
        return [*asked, *(blinder.email(email) if email is not None else ())]
    except MalformedIdentifier as exc:
        raise click.UsageError(f"--email: {exc}") from exc


def _issuer(named: str, regions: dict[str, dict[str, str]]) -> str:
    """A region's issuer, or an issuer's own URL. Raises UsageError."""
    if named in regions:
        return regions[named]["issuer"]
    if "://" not in named:
        listed = f"a region ({', '.join(sorted(regions))}) or " if regions else ""
        raise click.UsageError(f"--issuer takes {listed}an issuer's URL")
    return named


def _parsed_keys(keys: tuple[str, ...]) -> list[str]:
    try:
        return [parse_lookup_key(key) for key in keys]
    except MalformedWord as exc:
        raise click.UsageError(str(exc)) from exc


@directory.command(short_help="Show SUBJECT's page: where, why, since when.")
@click.argument("subject")
@reach_option
@click.option(
    "--cell-token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --directory: a token whose audience is the home cell, for its records.",
)
@json_option
def show(subject: str, reach: Reach, cell_token_file: Path | None, as_json: bool) -> None:
    """Show SUBJECT's page: where, why by which law, since when, and what crossed a border or was refused.

    The last part is asked of the home cell, under a credential of its own; where that cell cannot be asked, the rest is shown.
    """
    page = truth.gathered(reach, parsed_subject(subject), cell_token_file)
    if as_json:
        print_json(page)
    else:
        truth.print_page(page)


@directory.command(name="list")
@click.option("--cell", help="Only this cell's subjects.")
@click.option("--in-state", help="Only placements in this state: active, frozen, reserved …")
@click.option("--limit", type=click.IntRange(1, LIST_MAX), default=50, show_default=True)
@click.option("--cursor", help="Go on where an earlier list ended.")
@reach_option
@json_option
def list_(cell: str | None, in_state: str | None, limit: int, cursor: str | None, reach: Reach, as_json: bool) -> None:
    """List placements."""
    found = Directory(reach).get("/subjects", cell=cell, state=in_state, limit=limit, cursor=cursor)
    if as_json:
        print_json(found)
        return
    print_table(_COLUMNS, [_row(placement) for placement in found["subjects"]])
    _say_next(found)


def _say_next(found: dict[str, Any]) -> None:
    if found.get("next"):
        click.echo(f"more with --cursor {found['next']}")


@directory.command(short_help="Show what happened to SUBJECT, and why.")
@click.argument("subject")
@click.option("--limit", type=click.IntRange(1, LIST_MAX), default=50, show_default=True)
@click.option("--cursor", help="Go on where an earlier list ended.")
@reach_option
@json_option
def history(subject: str, limit: int, cursor: str | None, reach: Reach, as_json: bool) -> None:
    """Show what happened to SUBJECT's placement: who did it, and why."""
    path = f"/subjects/{parsed_subject(subject)}/history"
    found = Directory(reach).get(path, limit=limit, cursor=cursor)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each["number"], utc(each["at"]), each["actor"], _end(each["from"]), _end(each["to"]), each["epoch"],
            each["reason"],
        )
        for each in found["entries"]
    ]  # fmt: skip
    print_table(("number", "at (UTC)", "actor", "from", "to", "epoch", "reason"), rows)
    _say_next(found)


def _end(value: Any) -> str:
    """One side of a change: a state, or a placement's part."""
    return " ".join(str(item) for item in value.values()) if isinstance(value, dict) else str(value or "")


class _ListByDefault(click.Group):
    """`services SUBJECT` is short for `services list SUBJECT`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@directory.group(cls=_ListByDefault, short_help="Show SUBJECT's services, or add some.")
def services() -> None:
    """Show for which services a subject was placed, or place it for more; others are refused with not_placed_for_service."""


@services.command(name="list")
@click.argument("subject")
@reach_option
@json_option
def list_services(subject: str, reach: Reach, as_json: bool) -> None:
    """List the services that SUBJECT was placed for."""
    path = f"/subjects/{parsed_subject(subject)}"
    placement = Directory(reach).get(path)["placement"]
    if as_json:
        print_json({"subject_id": placement["subject_id"], "services": placement["services"]})
    else:
        print_table(("service",), [(service,) for service in placement["services"]])


def _change(
    action: str, subject: str, reason: str, epoch: int | None, reach: Reach, as_json: bool, **more: Any
) -> None:
    """A compare-and-set by the epoch that is held, or by the one given; `more` goes into the body."""
    path = f"/subjects/{parsed_subject(subject)}"
    if not reason.strip() or not reason.isprintable():
        raise click.UsageError("--reason takes a line of text that says why")
    reached = Directory(reach)
    held = reached.get(path)["placement"]["epoch"] if epoch is None else epoch
    changed = reached.post(f"{path}/{action}", {"epoch": held, "reason": reason, **more})
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
        reach_option,
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


@services.command(short_help="Place SUBJECT for further services.")
@_changes
@click.argument("service", nargs=-1, required=True)
def add(subject: str, service: tuple[str, ...], reason: str, epoch: int | None, reach: Reach, as_json: bool) -> None:
    """Place SUBJECT anew for each SERVICE besides, under a new epoch, if the rules of today still allow its cell."""
    for name in service:
        _slug(name)
    _change("services", subject, reason, epoch, reach, as_json, add=list(service))


def _slug(name: str) -> None:
    """Raises UsageError."""
    try:
        parse_slug(name, "service")
    except MalformedWord as exc:
        raise click.UsageError(str(exc)) from exc


@directory.command()
@_changes
def freeze(subject: str, reason: str, epoch: int | None, reach: Reach, as_json: bool) -> None:
    """Let SUBJECT's rows be read but not written, under a new epoch."""
    _change("freeze", subject, reason, epoch, reach, as_json)


@directory.command()
@_changes
def unfreeze(subject: str, reason: str, epoch: int | None, reach: Reach, as_json: bool) -> None:
    """Let SUBJECT's rows be written again, under a new epoch."""
    _change("unfreeze", subject, reason, epoch, reach, as_json)


@directory.command(short_help="Give SUBJECT a new epoch.")
@_changes
def epoch(subject: str, reason: str, epoch: int | None, reach: Reach, as_json: bool) -> None:
    """Give SUBJECT a new epoch: every decision made before it is refused."""
    _change("epoch", subject, reason, epoch, reach, as_json)
