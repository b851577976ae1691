"""`domicile rules check`: a policy looked over, and a product's API against it."""

import datetime
import re
from collections.abc import Iterable
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.text import Text

from foundation.words import Country, JurisdictionId, ServiceId
from gateway.cli.options import json_option
from gateway.cli.rules.openapi import DocumentError, Judged, exemptions, judge, operations, parsed
from gateway.cli.rules.reading import at_option, day_of, loaded, policy_option, text_of
from gateway.cli.tables import console, print_hanging, print_rows
from routing_rules.explain import NOT_LEGAL_ADVICE
from routing_rules.hints import nearest
from routing_rules.rules import Rules
from routing_rules.survey import Line, Survey, Turn, survey

_STYLES = {"placed": "green", "refused": "yellow", "unknown": "red"}


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """A product's API: a line per operation, and mistakes of the exemptions."""

    service: ServiceId
    operations: tuple[Judged, ...]
    mistakes: tuple[str, ...]

    @property
    def failures(self) -> int:
        return len(self.mistakes) + sum(one.fails for one in self.operations)


@click.command(short_help="Look a policy over: mistakes, countries, deadlines.")
@policy_option
@at_option
@click.option("--openapi", type=click.Path(path_type=Path, dir_okay=False), help="A product's OpenAPI 3 document.")
@click.option("--service", "service_name", help="The service that the document is of.")
@click.option(
    "--exemptions",
    "exemptions_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML of [[exempt]] method, path, reason, until: operations that may stay without a key.",
)
@click.option(
    "--strict", is_flag=True, help="Exit with 1 for what is only told otherwise: over, running out, objected to."
)
@json_option
def check(
    policy_file: Path,
    at: datetime.datetime | None,
    openapi: Path | None,
    service_name: str | None,
    exemptions_file: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Check the policy: where people of each country would live, what runs out, what is disputed, who objects.

    Exit status 1: mistakes in policy or pack, or operations of the --openapi document without a key.
    """
    if (openapi is None) != (service_name is None) or (exemptions_file is not None and openapi is None):
        raise click.UsageError("--openapi FILE goes with --service NAME; --exemptions with both")
    found = loaded(policy_file)
    day = day_of(at)
    surveyed = survey(found, day)
    api = None
    if openapi is not None and service_name is not None:
        api = _api(openapi, service_name, exemptions_file, found, day)
    if as_json:
        click.echo(msgspec.json.encode(_document(surveyed, api)))
    else:
        _print(surveyed, api, found, console())
    failed = bool(surveyed.pack_mistakes) or (api is not None and api.failures > 0)
    told = bool(surveyed.instruments or surveyed.objections)
    if failed or (strict and told):
        raise click.exceptions.Exit(1)


def _api(document: Path, service_name: str, exempt: Path | None, found: Rules, day: datetime.date) -> Api:
    service = found.policy.services.get(ServiceId(service_name))
    if service is None:
        hint = nearest(service_name, found.policy.services)
        raise click.BadParameter(f"no service {service_name}{hint}", param_hint="--service")
    try:
        parts = operations(parsed(text_of(document), str(document)), service_name)
        granted = () if exempt is None else exemptions(text_of(exempt), str(exempt))
    except DocumentError as exc:
        raise click.ClickException(str(exc)) from exc
    lines, mistakes = judge(parts, service, granted, day)
    return Api(service=ServiceId(service_name), operations=tuple(lines), mistakes=tuple(mistakes))


def _document(surveyed: Survey, api: Api | None) -> dict[str, object]:
    counts = {"answers": len(surveyed.lines)}
    counts |= {verdict: surveyed.count(verdict) for verdict in ("placed", "refused", "unknown")}
    whole = {name: getattr(surveyed, name) for name in surveyed.__struct_fields__}
    return {**whole, "counts": counts, "api": api, "notice": NOT_LEGAL_ADVICE}


def _print(surveyed: Survey, api: Api | None, found: Rules, screen: Console) -> None:
    _print_lines(surveyed, screen)
    _print_instruments(surveyed, screen)
    _print_turns(surveyed, screen)
    _print_disputed(surveyed, screen)
    _print_objections(surveyed, screen)
    _list("Not declared by the operator, so unknown", surveyed.undeclared, screen)
    _list("Mistakes in the pack", surveyed.pack_mistakes, screen)
    if api is not None:
        _print_api(api, screen)
    refused = surveyed.count("refused") + surveyed.count("unknown")
    screen.print(
        f"{len(found.pack.owners)} countries x {len(found.policy.services)} services: {surveyed.count('placed')} placed, "
        f"{refused} refused ({surveyed.count('unknown')} of them because the law is unknown)",
        markup=False,
        soft_wrap=True,
    )
    screen.print(f"policy is sound; rules {surveyed.digest}", markup=False, soft_wrap=True)
    screen.print(NOT_LEGAL_ADVICE, style="bold", soft_wrap=True)


def _print_lines(surveyed: Survey, screen: Console) -> None:
    title = f"Where people would live on {surveyed.at} (citizens of the country they live in)"
    columns = ("jurisdiction", "countries", "service", "cells", "confidence", "as of", "ground")
    print_rows(screen, columns, [_answer(lines) for lines in _alike(surveyed.lines)], title=title)


def _answer(lines: list[Line]) -> tuple[str | Text, ...]:
    line = lines[0]
    countries = " ".join(sorted({one.country for one in lines}))
    services = ", ".join(sorted({one.service for one in lines}))
    cells = Text(", ".join(line.cells) or line.verdict, style=_STYLES[line.verdict])
    jurisdictions = {one.jurisdiction for one in lines}
    if len(jurisdictions) > 1:
        ground = _anybodys(line)
        return (f"{len(jurisdictions)} of them", countries, services, cells, "", "", ground)
    lacks = f"; would open: {'; or '.join(line.lacks)}" if line.lacks else ""
    duties = f"; owed: {', '.join(line.duties)}" if line.duties else ""
    ground = f"{line.ground}{lacks}{duties}"
    return (line.jurisdiction, countries, services, cells, line.confidence, line.as_of, ground)


def _anybodys(line: Line) -> str:
    """The ground without the name of the jurisdiction: what those who are refused alike have in common."""
    ground = line.ground.replace(f"unknown: {line.jurisdiction}: ", "unknown: ")
    return re.sub(rf"(?<![\w-]){re.escape(line.jurisdiction)}(?![\w-])", "it", ground)


def _alike(lines: Iterable[Line]) -> list[list[Line]]:
    """Lines that differ in country or service alone, together; the services of one row answer alike for all of its countries.

    Those for whom nothing was asked of the law, or nothing is known of it, differ in their jurisdiction too.
    """
    by_answer: dict[Line, dict[ServiceId, list[Line]]] = {}
    for line in lines:
        answer = msgspec.structs.replace(line, country=Country(""), service=ServiceId(""))
        if not (line.cells or line.lacks or line.valid_until):
            nobodys = {"jurisdiction": JurisdictionId(""), "confidence": "", "as_of": ""}
            answer = msgspec.structs.replace(answer, ground=_anybodys(line), **nobodys)
        by_answer.setdefault(answer, {}).setdefault(line.service, []).append(line)
    grouped: list[list[Line]] = []
    for services in by_answer.values():
        by_countries: dict[tuple[Country, ...], list[Line]] = {}
        for found in services.values():
            by_countries.setdefault(tuple(one.country for one in found), []).extend(found)
        grouped += by_countries.values()
    return sorted(
        grouped, key=lambda found: (_verdict(found[0]), found[0].jurisdiction, found[0].service, found[0].country)
    )


def _verdict(line: Line) -> int:
    """Who is placed, who could be, and who is not known."""
    return list(_STYLES).index(line.verdict)


def _print_instruments(surveyed: Survey, screen: Console) -> None:
    if not surveyed.instruments:
        return
    rows = []
    for one in surveyed.instruments:
        left = Text(f"{one.days} days left", style="yellow") if one.days >= 0 else Text("over", style="red")
        rows.append((one.ref, one.origin, one.to, one.gateway, one.until, left))
    print_rows(screen, ("ref", "from", "to", "gateway", "until", ""), rows, title="Instruments running out")


def _print_turns(surveyed: Survey, screen: Console) -> None:
    if not surveyed.turns:
        return
    grouped: dict[tuple[datetime.date, bool, str, tuple[str, ...]], list[Turn]] = {}
    for turn in surveyed.turns:
        grouped.setdefault((turn.day, turn.starts, turn.row.split(":")[0], turn.regimes), []).append(turn)
    rows = []
    for (day, starts, _, regimes), turns in grouped.items():
        shown = turns[0].row + (f" and {len(turns) - 1} more of that file" if len(turns) > 1 else "")
        note = f" ({turns[0].note})" if turns[0].note and len(turns) == 1 else ""
        rows.append((day, "starts" if starts else "over", ", ".join(regimes), shown + note))
    title = "Law that starts or ends within 180 days, for regimes that cells serve"
    print_rows(screen, ("day", "turn", "regimes", "rows"), rows, title=title)


def _print_disputed(surveyed: Survey, screen: Console) -> None:
    if not surveyed.disputed:
        return
    rows = [
        (one.row, ", ".join(one.why), ", ".join(one.jurisdictions), one.source, one.note) for one in surveyed.disputed
    ]
    columns = ("row", "why weak", "for", "source", "note")
    print_rows(screen, columns, rows, title="Weak rows that decided an answer above")


def _print_objections(surveyed: Survey, screen: Console) -> None:
    if not surveyed.objections:
        screen.print(f"No served regime objects to the directory in {surveyed.directory}.", markup=False)
        return
    title = f"Whose law objects to the directory in {surveyed.directory}"
    rows = [
        (one.regime, one.answer, one.ground, "; and ".join(one.lacks) or "nothing that can be filed")
        for one in surveyed.objections
    ]
    print_rows(screen, ("regime", "answer", "ground", "would open"), rows, title=title)


def _list(title: str, lines: Iterable[str], screen: Console) -> None:
    listed = list(lines)
    if listed:
        screen.print(f"{title}:", style="bold")
        for line in listed:
            print_hanging(screen, "  ", Text(line))


def _print_api(api: Api, screen: Console) -> None:
    rows = [
        (one.method, one.path, Text(one.stands, style="red" if one.fails else "green"), one.detail)
        for one in api.operations
    ]
    print_rows(screen, ("method", "path", "stands by", "detail"), rows, title=f"Operations of {api.service}")
    _list("Mistakes in the exemptions", api.mistakes, screen)
    failing = sum(one.fails for one in api.operations)
    screen.print(
        f"{len(api.operations)} operations, {failing} without a key, {len(api.mistakes)} mistakes in exemptions"
    )
