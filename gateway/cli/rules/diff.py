"""`domicile rules diff`: what two rules decide differently."""

import datetime
import re
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console

from foundation.words import ServiceId
from gateway.cli.client import Directory
from gateway.cli.options import json_option, print_json
from gateway.cli.reach import Reach, reach_option
from gateway.cli.rules.reading import at_option, day_of, rules_of, text_of
from gateway.cli.tables import console
from routing_rules.compare import HOME, Change, differences, rewritten
from routing_rules.explain import NOT_LEGAL_ADVICE
from routing_rules.rules import Rules

_HISTORICAL = re.compile(r"@\d+\Z|sha256:[0-9a-f]{64}\Z")
_COUNTRIES_SHOWN_MAX = 12
_KEYS_SHOWN_MAX = 20
_PAGES_MAX = 100


@click.command(short_help="Show what two rules answer differently.")
@click.argument("before")
@click.argument("after")
@reach_option
@at_option
@json_option
def diff(before: str, after: str, reach: Reach, at: datetime.datetime | None, as_json: bool) -> None:
    """Show which countries x services BEFORE and AFTER answer differently: policy files, or @SEQ or sha256:… of the directory's history."""
    day = day_of(at)
    a, b = (named(one, reach) for one in (before, after))
    changes = differences(a, b, day)
    if as_json:
        digests = {"before": a.digest, "after": b.digest, "at": day}
        print_json({**digests, "changes": changes, "rewritten": rewritten(a, b), "notice": NOT_LEGAL_ADVICE})
        return
    print_changes(changes, rewritten(a, b), day)
    click.echo(NOT_LEGAL_ADVICE)


def named(name: str, reach: Reach) -> Rules:
    """Rules by file, `@SEQ`, or digest; the last two are asked of the directory. Raises ClickException."""
    if not name.startswith(("@", "sha256:")):
        return rules_of(text_of(Path(name)), name)
    refuse_unless_historical(name)
    directory = Directory(reach)
    return rules_of(directory.get(f"/rules/{digest_of(name, directory)}")["policy"], name)


def refuse_unless_historical(name: str) -> None:
    """Raises UsageError for what can be no event and no digest."""
    if not _HISTORICAL.match(name):
        raise click.UsageError(
            f"{name[:80]!r} names no rules: @12 (an event of `domicile rules history`), or sha256: and 64 hex digits"
        )


def digest_of(name: str, directory: Directory) -> str:
    """The digest of `@SEQ` or of itself. Raises ClickException."""
    return name if name.startswith("sha256:") else digest_at(int(name.removeprefix("@")), directory)


def digest_at(seq: int, directory: Directory) -> str:
    """The digest that was published as feed event `seq`. Raises ClickException where none was."""
    cursor: str | None = None
    for _ in range(_PAGES_MAX):
        page = directory.get("/rules/history", cursor=cursor, limit=100)
        for entry in page["entries"]:
            if entry["seq"] == seq:
                return str(entry["digest"])
        cursor = page["next"]
        if cursor is None or page["entries"][-1]["seq"] < seq:
            break
    raise click.ClickException(f"no rules were published as @{seq}; see `domicile rules history`")


def print_changes(changes: Sequence[Change], keys: Sequence[str], day: datetime.date) -> None:
    """One line a change, one word for a whole regime; then the keys that differ, decided by or not."""
    screen = console()
    _print_decided(changes, screen, day)
    if keys:
        listed = ", ".join(keys[:_KEYS_SHOWN_MAX]) + (" …" if len(keys) > _KEYS_SHOWN_MAX else "")
        screen.print(f"keys that differ: {listed}", markup=False, soft_wrap=True)


def _print_decided(changes: Sequence[Change], screen: Console, day: datetime.date) -> None:
    if not changes:
        screen.print(f"No answer of countries x services changes on {day}.", markup=False)
        return
    services: dict[Change, list[str]] = {}
    for change in changes:
        services.setdefault(msgspec.structs.replace(change, service=ServiceId("")), []).append(change.service)
    for change, named_services in services.items():
        where = "" if change.where == HOME else f" {change.where}"
        ground = f" ({change.ground})" if change.where == HOME else ""
        line = f"{people(change)}: {', '.join(named_services)}{where}: {change.before} -> {change.after}{ground}"
        screen.print(line, markup=False, soft_wrap=True)
    told = {(country, change.service) for change in changes for country in change.countries}
    screen.print(f"{len(told)} answers of countries x services change on {day}", markup=False)


def people(change: Change) -> str:
    """`eu 38 countries (AT BE …)`, or the one country."""
    count = len(change.countries)
    listed = " ".join(change.countries[:_COUNTRIES_SHOWN_MAX]) + (" …" if count > _COUNTRIES_SHOWN_MAX else "")
    return f"{change.regime} {listed}" if count == 1 else f"{change.regime} {count} countries ({listed})"
