"""`domicile access locks | lock | unlock | exempt | withdraw | authority | prepare`: locks, exceptions, keys, the wall's ground."""

import os
import secrets
from pathlib import Path
from typing import Any

import click

from cells.breakglass.certificates.authority import made
from cells.breakglass.exceptions import ExceptionText, signed
from cells.breakglass.wall.server import preparation
from cells.breakglass.words import Purpose, Rule
from deploy.local import access as stack_access
from deploy.local.layout import Paths
from foundation.clock import SystemClock
from foundation.ledger.key_files import private_key_in
from foundation.ledger.notes import Signer
from foundation.settings import SettingsError
from foundation.words import CellId, MalformedWord, parse_slug
from gateway.cli.access.which import Asker, asker_option, id_argument
from gateway.cli.options import json_option, print_json, print_table, utc

FILE = click.Path(path_type=Path, dir_okay=False)
DAY_S = 86_400


@click.command()
@asker_option("auditor")
@json_option
def locks(asker: Asker, as_json: bool) -> None:
    """List who is locked here and in other cells, and how old that is.

    Of other cells' locks digests travel; they are shown by name where this cell has seen the person. Those `in` this very cell are kept of
    what it lost when it was restored: lock and unlock the person, and they are lifted.
    """
    told = asker.get("/locks")
    _tell_locks(told, as_json=as_json)
    if as_json:
        return
    rows = [
        (one["person"] or one["digest"][:16], one["cell"], one["code"], utc(one["at"]), one["event"])
        for one in told["elsewhere"]
    ]
    if rows:
        print_table(("locked elsewhere", "in", "what", "since (UTC)", "entry there"), rows)
    else:
        click.echo("none elsewhere")
    click.echo(_feed_line(told["feed"]))


def _feed_line(feed: dict[str, Any]) -> str:
    age = "never heard" if feed["age_s"] is None else f"heard {feed['age_s']:.1f} s ago"
    stale = "" if feed["fresh"] else ": TOO OLD, nothing is granted but emergencies"
    kept = f"; {feed['kept']} of this cell's are kept that it LOST by a restoration" if feed["kept"] else ""
    return f"other cells' locks {age}{stale}; this cell's {'are told' if feed['told'] else 'are NOT TOLD yet'}{kept}"


@click.command()
@click.argument("person")
@click.option("--reason", required=True, help="Why.")
@asker_option("security")
@json_option
def lock(person: str, reason: str, asker: Asker, as_json: bool) -> None:
    """Lock PERSON (engineer:<sub>) out of everything here and in other cells, and what they hold with them."""
    _tell_locks(asker.post("/locks", {"person": person, "reason": reason}), as_json=as_json)


@click.command()
@click.argument("person")
@click.option("--reason", required=True, help="Why.")
@asker_option("security")
@json_option
def unlock(person: str, reason: str, asker: Asker, as_json: bool) -> None:
    """Take the lock of PERSON back that was made in this cell."""
    _tell_locks(asker.post("/locks/release", {"person": person, "reason": reason}), as_json=as_json)


def _tell_locks(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    rows = [(one["person"], one["by"], utc(one["at"]), one["reason"]) for one in told["locks"]]
    print_table(("locked", "by", "since (UTC)", "why"), rows)


@click.command()
@click.option("--engineer", required=True, help="For whom: engineer:<sub>.")
@click.option("--rule", required=True, type=click.Choice([one.value for one in Rule]), help="Which rule it lifts.")
@click.option(
    "--purpose",
    "purposes",
    required=True,
    multiple=True,
    type=click.Choice([one.value for one in Purpose]),
    help="What for; may be repeated.",
)
@click.option("--days", type=click.IntRange(1, 30), required=True, help="How long it counts.")
@click.option("--reason", required=True, help="Why, in a line; it stands in the ledger.")
@click.option("--key", type=FILE, help="The owner's private key (mode 0600), as `domicile ledger key` makes one.")
@asker_option("security")
@json_option
def exempt(
    engineer: str,
    rule: str,
    purposes: tuple[str, ...],
    days: int,
    reason: str,
    key: Path | None,
    asker: Asker,
    as_json: bool,
) -> None:
    """Sign an exception to one rule, and let it count in the cell."""
    now = int(SystemClock().unix_s())
    text = ExceptionText(
        exception=secrets.token_hex(16),
        cell=asker.cell,
        rule=Rule(rule),
        engineer=engineer,
        purposes=tuple(Purpose(one) for one in purposes),
        since=now,
        until=now + days * DAY_S,
        reason=reason,
    )
    told = asker.post("/exceptions", {"note": signed(text, _owner(asker, key))})
    if as_json:
        print_json(told)
        return
    click.echo(f"{text.exception}: {rule} lifted for {engineer} until {utc(text.until)} UTC")


@click.command()
@id_argument("exception")
@click.option("--reason", required=True, help="Why.")
@asker_option("security")
@json_option
def withdraw(exception: str, reason: str, asker: Asker, as_json: bool) -> None:
    """Let an exception count no more."""
    told = asker.post(f"/exceptions/{exception}/withdraw", {"reason": reason})
    if as_json:
        print_json(told)
        return
    rows = [
        (one["exception"]["exception"], one["exception"]["engineer"], one["exception"]["rule"], one["counts"])
        for one in told["exceptions"]
    ]
    print_table(("exception", "engineer", "lifts", "counts"), rows)


def _owner(asker: Asker, key: Path | None) -> Signer:
    """Raises SettingsError."""
    if key is None:
        if asker.url is not None:
            raise SettingsError("an exception goes with --key FILE, the private key of its owner")
        return stack_access.owner(Paths(asker.state.absolute()))
    return private_key_in(key, Signer, "that signs exceptions")


@click.command()
@click.argument("cell")
@click.option("--key-out", type=FILE, required=True, help="Where the private key goes (mode 0600).")
@click.option("--out", type=FILE, required=True, help="Where the authority's certificate goes.")
def authority(cell: str, key_out: Path, out: Path) -> None:
    """Make the key and certificate of a new authority for CELL."""
    try:
        named = CellId(parse_slug(cell, "cell"))
    except MalformedWord as exc:
        raise SettingsError(str(exc)) from exc
    key, certificate = made(named, int(SystemClock().unix_s() * 1_000_000))
    for path, content, mode in ((key_out, key.reveal(), 0o600), (out, certificate, 0o644)):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except OSError as exc:
            raise SettingsError(f"{path} cannot be written ({exc.strerror}); a key is not written over") from exc
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    click.echo(f"key: {key_out}, certificate: {out}")


@click.command()
def prepare() -> None:
    """Print the SQL that a superuser runs in each shard's database before the SQL door opens it; again after roles were added.

    It makes the roles of engineers' sessions, and takes the functions that these may not run from PUBLIC, in that database alone.
    """
    click.echo(preparation(), nl=False)
