"""`domicile rules explain`: the trail behind an answer, for a person or for a transfer."""

import datetime
import re
from pathlib import Path

import click
import msgspec
from rich.text import Text

from foundation.words import CellId, JurisdictionId, RegionId, ServiceId, Verb
from gateway.cli.options import json_option
from gateway.cli.rules.reading import at_option, country_of, day_of, jurisdiction_of, loaded, policy_option
from gateway.cli.tables import console, print_hanging
from routing_rules.explain import Explanation, Step, explain_decide, explain_place, explain_transfer
from routing_rules.facts import PlaceFacts, RequestFacts, SubjectFacts
from routing_rules.hints import nearest
from routing_rules.law.questions import Duty, Location, TransferQuestion
from routing_rules.pack import Kind
from routing_rules.policy.checks.operator import recipient_classes
from routing_rules.rules import Rules
from routing_rules.verdicts import Allowed, NoCell, Refuse

_PART = re.compile(r"([A-Z]{2})-[A-Z0-9]{1,3}\Z")


@click.command(short_help="Show the rows behind an answer.")
@policy_option
@at_option
@click.option("--residence", "--country", "residence", help="The person's residence, ISO 3166-1 alpha-2.")
@click.option("--part", help="Part of that country, ISO 3166-2, such as US-TX.")
@click.option("--citizenship", "citizenships", multiple=True, help="A citizenship; once for each.")
@click.option("--tag", "tags", multiple=True, help="A kind of data beyond what the services declare; once for each.")
@click.option("--terms", help="The tenant's entry of policy's [terms].")
@click.option("--service", "services", multiple=True, help="A service they use; once for each.")
@click.option("--observed", help="The country that their address points at; it never decides.")
@click.option("--ingress", help="Also decide a request that comes in at this region.")
@click.option("--verb", type=click.Choice([verb.value for verb in Verb]), default=Verb.READ.value, show_default=True)
@click.option("--actor", help="The entry of policy's [actors] that asks for the person.")
@click.option("--from", "origins", multiple=True, help="Of a transfer: a regime the data is under; once for each.")
@click.option("--to", "destination", help="Of a transfer: a jurisdiction (us), country (US) or part (US-TX).")
@click.option("--purpose", default="service", show_default=True, help="Of a transfer.")
@click.option("--recipient-class", "classes", multiple=True, help="Of a transfer: a class proven of the recipient.")
@json_option
def explain(
    *,
    policy_file: Path,
    at: datetime.datetime | None,
    residence: str | None,
    part: str | None,
    citizenships: tuple[str, ...],
    tags: tuple[str, ...],
    terms: str | None,
    services: tuple[str, ...],
    observed: str | None,
    ingress: str | None,
    verb: str,
    actor: str | None,
    origins: tuple[str, ...],
    destination: str | None,
    purpose: str,
    classes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Explain where a person would live (--residence, --service), what becomes of a request (--ingress), or a transfer (--from, --to)."""
    found = loaded(policy_file)
    day = day_of(at)
    _refuse_unknown_tags(tags, found)
    if destination is not None or origins:
        if residence is not None or services or destination is None or not origins:
            raise click.UsageError("a transfer takes --from and --to, with --purpose, --tag and --recipient-class")
        question = _transfer(origins, destination, purpose, tags, classes, found)
        explained = [explain_transfer(question, found, day)]
    else:
        if residence is None or not services:
            raise click.UsageError("name a person by --residence and --service, or a transfer by --from and --to")
        subject = _subject(residence, part, citizenships, tags, terms, found)
        used = tuple(_service(name, found) for name in services)
        declared = None if observed is None else country_of(observed, found, "--observed")
        facts = PlaceFacts(subject=subject, services=used, observed=declared)
        explained = [explain_place(facts, found, day)]
        placed = explained[0].answer
        if ingress is not None and isinstance(placed, Allowed):
            # With several allowed cells each subject gets one of them by its id; each is explained.
            asked = [
                _request(facts, cell, _region(ingress, found), Verb(verb), _actor(actor, found))
                for cell in placed.cells
            ]
            explained += [explain_decide(one, found, day) for one in asked]
    if as_json:
        click.echo(msgspec.json.encode(explained))
        return
    for one in explained:
        _print(one)


def _refuse_unknown_tags(tags: tuple[str, ...], found: Rules) -> None:
    for tag in tags:
        if tag not in found.pack.tag_names:
            raise click.BadParameter(f"no tag {tag}{nearest(tag, found.pack.tag_names)}", param_hint="--tag")


def _transfer(
    origins: tuple[str, ...], to: str, purpose: str, tags: tuple[str, ...], classes: tuple[str, ...], found: Rules
) -> TransferQuestion:
    regimes = tuple(_jurisdiction(origin, found, "--from") for origin in origins)
    asked_for = recipient_classes(found.pack)
    for one in classes:
        if one not in asked_for:
            raise click.BadParameter(f"no row asks for {one}{nearest(one, asked_for)}", param_hint="--recipient-class")
    proven = classes or found.policy.operator.recipient_classes
    return TransferQuestion(regimes=regimes, to=_place(to, found), purpose=purpose, tags=tags, recipient_classes=proven)


def _place(text: str, found: Rules) -> Location:
    part = _PART.match(text)
    if part is not None:
        return found.law.location(country_of(part.group(1), found, "--to"), text)
    if text.isupper():
        return found.law.location(country_of(text, found, "--to"))
    return Location(_jurisdiction(text, found, "--to"))


def _jurisdiction(name: str, found: Rules, hint: str) -> JurisdictionId:
    row = jurisdiction_of(name, found, hint)
    if row.kind is Kind.SCHEME:
        told = (
            f"{name} is a scheme inside {row.parent}: name that, and prove the recipient's class by --recipient-class"
        )
        raise click.BadParameter(told, param_hint=hint)
    return row.id


def _subject(
    residence: str,
    part: str | None,
    citizenships: tuple[str, ...],
    tags: tuple[str, ...],
    terms: str | None,
    found: Rules,
) -> SubjectFacts:
    country = country_of(residence, found, "--residence")
    part = None if part is None else part.upper()
    if part is not None and not (_PART.match(part) and part.startswith(f"{country}-")):
        raise click.BadParameter(f"{part[:40]} is no part of {country}, such as {country}-XX", param_hint="--part")
    if terms is not None and terms not in found.policy.terms:
        raise click.BadParameter(f"no terms {terms}{nearest(terms, found.policy.terms)}", param_hint="--terms")
    return SubjectFacts(
        residence=country,
        subdivision=part,
        citizenships=tuple(country_of(one, found, "--citizenship") for one in citizenships) or None,
        tags=tags,
        terms=terms,
    )


def _service(name: str, found: Rules) -> ServiceId:
    service = ServiceId(name)
    if service not in found.policy.services:
        raise click.BadParameter(f"no service {name}{nearest(name, found.policy.services)}", param_hint="--service")
    return service


def _region(name: str, found: Rules) -> RegionId:
    region = RegionId(name)
    if region not in found.policy.regions:
        raise click.BadParameter(f"no region {name}{nearest(name, found.policy.regions)}", param_hint="--ingress")
    return region


def _actor(name: str | None, found: Rules) -> ServiceId | None:
    if name is not None and ServiceId(name) not in found.policy.actors:
        raise click.BadParameter(f"no actor {name}{nearest(name, found.policy.actors)}", param_hint="--actor")
    return None if name is None else ServiceId(name)


def _request(facts: PlaceFacts, cell: CellId, ingress: RegionId, verb: Verb, actor: ServiceId | None) -> RequestFacts:
    return RequestFacts(
        service=facts.services[0],
        verb=verb,
        ingress=ingress,
        cell=cell,
        subject=facts.subject,
        services=facts.services,
        actor=actor,
    )


def _print(one: Explanation) -> None:
    screen = console()
    screen.print(Text.assemble((one.outcome, "bold"), f" on {one.at}: {one.ground}"), soft_wrap=True)
    for line in _consequences(one):
        print_hanging(screen, "  ", Text(line))
    first_with: dict[str, int] = {}
    for number, step in enumerate(one.steps, start=1):
        print_hanging(screen, f"{number:3}. ", Text(f"{step.asked.strip()} {step.answer}", style="bold"))
        above = None if step.row is None else first_with.setdefault(step.row, number)
        for line in _sources(step) if above in (None, number) else [f"row {step.row}: as in {above}"]:
            print_hanging(screen, "     ", Text(line, style="dim"))
    for change in one.would_change:
        print_hanging(screen, "  would change it: ", Text(change))
    screen.print(one.notice, style="bold", soft_wrap=True)


def _consequences(one: Explanation) -> list[str]:
    lines = []
    if isinstance(one.answer, NoCell | Refuse):
        lines.append(f"{one.answer.code.value}: {one.answer.detail}")
    if one.answer.valid_until is not None:
        lines.append(f"may change on {one.answer.valid_until}")
    return lines + [f"owed: {owed(duty)} ({duty.row.file}.csv:{duty.row.line})" for duty in one.duties]


def owed(duty: Duty) -> str:
    """A duty with its clock, in a clause."""
    action, trigger = duty.action.replace("_", " "), duty.trigger.replace("_", " ")
    if duty.deadline == 0:
        when = "first" if duty.relative_to == "before" else "at once, or no period is stated"
    else:
        when = f"{duty.deadline} {duty.unit.replace('_', ' ')} {duty.relative_to}"
    return f"{duty.regime}: {action}, {when} ({trigger})"


def _sources(step: Step) -> list[str]:
    lines = [f"instruments: {', '.join(step.instruments)}"] if step.instruments else []
    if step.row is None:
        return lines
    lines.append(f"row {step.row}{_dates(step)}")
    if step.source is not None:
        lines.append(f"as of {step.as_of}; confidence {step.confidence}; {step.status}")
        lines += [f"law: {step.law}"] if step.law else []
        lines.append(f"source: {step.source}")
    return lines + ([f"note: {step.note}"] if step.note else [])


def _dates(step: Step) -> str:
    if step.holds_from is None and step.holds_until is None:
        return ""
    return f", from {step.holds_from or 'no date'}" + (f" to {step.holds_until}" if step.holds_until else "")
