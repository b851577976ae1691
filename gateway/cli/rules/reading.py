"""What the commands share: which policy, which day, how an answer is printed."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from foundation.clock import SystemClock
from foundation.words import Country, MalformedWord, parse_country
from routing_rules.hints import nearest
from routing_rules.rules import PolicyError, Rules, load

DEFAULT_POLICY = ".domicile/policy.toml"
_PLAIN_COLUMNS = 160

F = TypeVar("F", bound=Callable[..., Any])

policy_option = click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_POLICY,
    show_default=True,
    help="The policy to read.",
)
at_option = click.option("--at", type=click.DateTime(["%Y-%m-%d"]), help="The day to answer for (default: today, UTC).")


def loaded(policy_file: Path) -> Rules:
    """The rules of a file, or a message with every mistake and exit status 1."""
    return rules_of(text_of(policy_file), str(policy_file))


def text_of(policy_file: Path) -> str:
    """Bytes, not text mode: the digest is over the text as it stands, line ends included."""
    try:
        return policy_file.read_bytes().decode()
    except FileNotFoundError as exc:
        raise click.ClickException(
            f"{policy_file} does not exist; `domicile up` writes one, or name yours by --policy"
        ) from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise click.ClickException(f"{policy_file} cannot be read: {exc}") from exc


def rules_of(text: str, name: str) -> Rules:
    try:
        return load(text)
    except PolicyError as exc:
        listed = "\n".join(f"  {mistake}" for mistake in exc.mistakes)
        count = len(exc.mistakes)
        raise click.ClickException(f"{name} has {count} mistake{'s' if count > 1 else ''}:\n{listed}") from exc


def day_of(at: datetime.datetime | None) -> datetime.date:
    if at is not None:
        return at.date()
    return datetime.datetime.fromtimestamp(SystemClock().unix_s(), datetime.UTC).date()


def country_of(text: str, found: Rules, hint: str) -> Country:
    try:
        country = parse_country(text)
    except MalformedWord as exc:
        raise click.BadParameter(str(exc), param_hint=hint) from exc
    if country not in found.pack.owners:
        raise click.BadParameter(f"no country {country}{nearest(country, found.pack.owners)}", param_hint=hint)
    return country


def console() -> Console:
    shown = Console(highlight=False)
    return shown if shown.is_terminal else Console(highlight=False, width=_PLAIN_COLUMNS)
