"""What the commands share: which policy, which day, which country or jurisdiction."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from foundation.clock import SystemClock
from foundation.words import Country, JurisdictionId, MalformedWord, parse_country
from routing_rules.hints import nearest
from routing_rules.pack.rows import Jurisdiction
from routing_rules.rules import PolicyError, Rules, load

DEFAULT_POLICY = ".domicile/policy.toml"

F = TypeVar("F", bound=Callable[..., Any])

policy_option = click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_POLICY,
    show_default=True,
    help="The policy to read.",
)
at_option = click.option(
    "--at", type=click.DateTime(["%Y-%m-%d"]), metavar="YYYY-MM-DD", help="The day to answer for (default: today, UTC)."
)


def loaded(policy_file: Path) -> Rules:
    """The rules of a file, or a message with every mistake and exit status 1."""
    return rules_of(text_of(policy_file), str(policy_file))


def text_of(file: Path) -> str:
    """Bytes, not text mode: the digest is over the text as it stands, line ends included."""
    try:
        return file.read_bytes().decode()
    except FileNotFoundError as exc:
        hint = "; `domicile up` writes one, or name yours by --policy" if str(file) == DEFAULT_POLICY else ""
        raise click.ClickException(f"{file} does not exist{hint}") from exc
    except UnicodeDecodeError as exc:
        raise click.ClickException(f"{file} is no text: byte {exc.start + 1} is not UTF-8") from exc
    except OSError as exc:
        raise click.ClickException(f"{file} cannot be read ({exc.strerror})") from exc


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
        raise click.BadParameter(f"no country {country}{_meant(country, found)}", param_hint=hint)
    return country


def _meant(code: str, found: Rules) -> str:
    """A jurisdiction that is named like the code says which countries it has: `UK` is GB."""
    named = found.pack.rows.get(JurisdictionId(code.lower()))
    if named is not None and named.countries:
        return f"; the jurisdiction {named.id} has {' '.join(sorted(named.countries)[:12])}"
    return nearest(code, found.pack.owners)


def jurisdiction_of(name: str, found: Rules, hint: str) -> Jurisdiction:
    """The row of the pack, by its id in any case. Raises BadParameter, which says of a country whose law is meant."""
    row = found.pack.rows.get(JurisdictionId(name.lower()))
    if row is not None:
        return row
    owner = found.pack.owners.get(Country(name.upper()))
    meant = f"; {name.upper()} is under {owner}" if owner else nearest(name.lower(), found.pack.rows)
    raise click.BadParameter(f"no jurisdiction {name}{meant}", param_hint=hint)
