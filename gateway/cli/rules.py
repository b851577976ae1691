"""`domicile rules`: check a policy, explain an answer, print the digest. Works on files; needs no running stack."""

import datetime
import json
from pathlib import Path

import click
import msgspec
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from foundation.clock import SystemClock
from foundation.words import CellId, Country, JurisdictionId, MalformedWord, RegionId, ServiceId, Verb, parse_country
from routing_rules.explain import NOT_LEGAL_ADVICE, Answer, Explanation, Step, explain_decide, explain_place
from routing_rules.facts import PlaceFacts, RequestFacts, SubjectFacts
from routing_rules.mistakes import nearest
from routing_rules.place import place
from routing_rules.regimes import of_country
from routing_rules.rules import PolicyError, Rules, load
from routing_rules.verdicts import Allowed, NoCell

DEFAULT_POLICY = ".domicile/policy.toml"
_PLAIN_COLUMNS = 160

policy_option = click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_POLICY,
    show_default=True,
    help="The policy to read.",
)
at_option = click.option("--at", type=click.DateTime(["%Y-%m-%d"]), help="The day to answer for (default: today, UTC).")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One country x service of `rules check`."""

    country: Country
    service: ServiceId
    jurisdiction: JurisdictionId | None
    cells: tuple[str, ...]
    confidence: str | None
    as_of: str | None
    ground: str


@click.group()
def rules() -> None:
    """Residency rules: check a policy, explain an answer (not legal advice)."""


@rules.command()
@policy_option
@at_option
@json_option
def check(policy_file: Path, at: datetime.datetime | None, as_json: bool) -> None:
    """Check the policy, and show for each country and service where people would live, or why nowhere."""
    found = _load(policy_file)
    day = _day(at)
    lines = [
        _line(country, service, found, day) for country in sorted(found.pack.owners) for service in _services(found)
    ]
    if as_json:
        counts = {"answers": len(lines), "placed": sum(1 for line in lines if line.cells)}
        document = {"digest": found.digest, "at": day, "notice": NOT_LEGAL_ADVICE, "counts": counts, "lines": lines}
        click.echo(msgspec.json.encode(document))
        return
    _print_check(lines, found, day)


@rules.command()
@policy_option
@click.option("--country", required=True, help="The person's residence, ISO 3166-1 alpha-2.")
@click.option("--service", "service_name", required=True, help="The service they use.")
@click.option("--ingress", help="Also decide a request that comes in at this region.")
@click.option("--verb", type=click.Choice([verb.value for verb in Verb]), default=Verb.READ.value, show_default=True)
@at_option
@json_option
def explain(
    policy_file: Path,
    country: str,
    service_name: str,
    ingress: str | None,
    verb: str,
    at: datetime.datetime | None,
    as_json: bool,
) -> None:
    """Explain where a person would live, and with --ingress what becomes of their request there."""
    found = _load(policy_file)
    try:
        residence = parse_country(country)
    except MalformedWord as exc:
        raise click.BadParameter(str(exc), param_hint="--country") from exc
    service = ServiceId(service_name)
    if service not in found.policy.services:
        raise click.BadParameter(
            f"no service {service}{nearest(service, found.policy.services)}", param_hint="--service"
        )
    if ingress is not None and ingress not in found.policy.regions:
        raise click.BadParameter(f"no region {ingress}{nearest(ingress, found.policy.regions)}", param_hint="--ingress")
    explained = [
        explain_place(PlaceFacts(subject=SubjectFacts(residence=residence), services=(service,)), found, _day(at))
    ]
    placed = explained[0].answer
    if ingress is not None and isinstance(placed, Allowed):
        # With several allowed cells each subject gets one of them by its id; each is explained.
        explained += [
            explain_decide(
                _request(SubjectFacts(residence=residence), cell, service, RegionId(ingress), Verb(verb)),
                found,
                _day(at),
            )
            for cell in placed.cells
        ]
    if as_json:
        click.echo(msgspec.json.encode(explained))
        return
    for one in explained:
        _print_explanation(one)


@rules.command()
@policy_option
@json_option
def digest(policy_file: Path, as_json: bool) -> None:
    """Print the digest of the rules that this policy makes with the bundled pack."""
    found = _load(policy_file)
    click.echo(json.dumps({"digest": found.digest, "pack": f"sha256:{found.pack.digest}"}) if as_json else found.digest)


def _load(policy_file: Path) -> Rules:
    """The rules, or a message with every mistake and exit status 1."""
    try:
        # Bytes, not text mode: the digest is over the text as it stands, line ends included.
        return load(policy_file.read_bytes().decode())
    except FileNotFoundError as exc:
        raise click.ClickException(
            f"{policy_file} does not exist; `domicile up` writes one, or name yours by --policy"
        ) from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise click.ClickException(f"{policy_file} cannot be read: {exc}") from exc
    except PolicyError as exc:
        listed = "\n".join(f"  {mistake}" for mistake in exc.mistakes)
        count = len(exc.mistakes)
        raise click.ClickException(f"{policy_file} has {count} mistake{'s' if count > 1 else ''}:\n{listed}") from exc


def _day(at: datetime.datetime | None) -> datetime.date:
    if at is not None:
        return at.date()
    return datetime.datetime.fromtimestamp(SystemClock().unix_s(), datetime.UTC).date()


def _services(found: Rules) -> list[ServiceId]:
    return sorted(found.policy.services)


def _line(country: Country, service: ServiceId, found: Rules, day: datetime.date) -> Line:
    answer = place(PlaceFacts(subject=SubjectFacts(residence=country), services=(service,)), found, day)
    row = of_country(country, found, day).row
    return Line(
        country=country,
        service=service,
        jurisdiction=row.id if row else None,
        cells=answer.cells if isinstance(answer, Allowed) else (),
        confidence=row.confidence if row else None,
        as_of=row.as_of if row else None,
        ground=answer.ground,
    )


def _request(subject: SubjectFacts, cell: CellId, service: ServiceId, ingress: RegionId, verb: Verb) -> RequestFacts:
    return RequestFacts(
        service=service,
        verb=verb,
        ingress=ingress,
        cell=cell,
        subject=subject,
        services=(service,),
    )


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PLAIN_COLUMNS)


def _print_check(lines: list[Line], found: Rules, day: datetime.date) -> None:
    table = Table(box=box.SIMPLE, title=f"Where people would live on {day}")
    for heading in ("country", "service", "jurisdiction", "cells", "confidence", "as of", "ground"):
        table.add_column(heading, overflow="fold")
    for line in lines:
        cells = Text(", ".join(line.cells) or "refused", style="green" if line.cells else "yellow")
        shown = (line.jurisdiction or "-", cells, line.confidence or "-", line.as_of or "-", Text(line.ground))
        table.add_row(line.country, line.service, *shown)
    console = _console()
    console.print(table)
    placed = sum(1 for line in lines if line.cells)
    unknown = sum(1 for line in lines if line.ground.startswith("unknown"))
    console.print(
        f"{len(found.pack.owners)} countries x {len(found.policy.services)} services: {placed} placed, "
        f"{len(lines) - placed} refused ({unknown} of them because the law is unknown)",
        markup=False,
    )
    console.print(f"policy is sound; rules {found.digest}", markup=False)
    console.print(NOT_LEGAL_ADVICE, style="bold")


def _print_explanation(one: Explanation) -> None:
    console = _console()
    console.print(Text.assemble((one.outcome, "bold"), f" on {one.at}: {one.answer.ground}"))
    for line in _consequences(one.answer):
        console.print(f"  {line}", markup=False)
    for number, step in enumerate(one.steps, start=1):
        console.print(Text.assemble(f"{number:3}. {step.asked} ", (step.answer, "bold")))
        for line in _sources(step):
            console.print(Padding(Text(line, style="dim"), (0, 0, 0, 5)))
    console.print(one.notice, style="bold")


def _sources(step: Step) -> list[str]:
    if step.row is None:
        return []
    dates = f"from {step.holds_from or 'no date'}" + (f" to {step.holds_until}" if step.holds_until else "")
    lines = [f"row {step.row}, {dates}; as of {step.as_of}; confidence {step.confidence}"]
    lines += [f"law: {step.law}"] if step.law else []
    return [*lines, f"source: {step.source}"]


def _consequences(answer: Answer) -> list[str]:
    lines = [f"rules {answer.digest}"]
    if answer.valid_until is not None:
        lines.insert(0, f"may change on {answer.valid_until}")
    if isinstance(answer, NoCell):
        lines.insert(0, f"{answer.code.value}: {answer.detail}")
    return lines
