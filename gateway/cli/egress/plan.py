"""`domicile egress plan`: before anything moves, what each field would become, on a sample if wanted, side by side."""

import asyncio
from typing import Any

import click

from cells.egress.plan import TablePlan
from cells.egress.treating import Batch, Person, Treater, as_text
from foundation.clock import SystemClock
from foundation.words import DestinationId, MalformedWord, parse_country
from gateway.cli.egress.means import today, treater
from gateway.cli.egress.which import Which, aim_options, checked, told, which_option
from gateway.cli.options import json_option, print_json, print_table
from routing_rules.facts import SubjectFacts
from routing_rules.release import Consent

SHOWN_CHARS_MAX = 40


@click.command()
@click.argument("table")
@aim_options
@click.option("--residence", help="Plan for a person of this country, without asking for anybody's rows.")
@click.option("--consent", type=click.Choice([one.value for one in Consent]), default="unsaid", show_default=True)
@click.option(
    "--sample", type=click.IntRange(0, 20), default=0, help="Also treat so many rows, and show them before and after."
)
@which_option
@json_option
def plan(
    table: str, to: str, purpose: str, residence: str | None, consent: str, sample: int, which: Which, as_json: bool
) -> None:
    """Show what TABLE's fields would become for a destination and purpose, for each kind of person among the first rows.

    With --sample the rows themselves are shown, personal data and all, on this terminal.
    """
    stated = None if residence is None else Person(_subject(residence), Consent(consent))
    if stated is not None and sample:
        raise click.UsageError("--sample treats rows of real persons; leave --residence away")
    if as_json and sample:
        raise click.UsageError("--sample is shown side by side on a terminal; leave --json away")
    plans, rows = asyncio.run(_planned(which, table, DestinationId(to), purpose, stated, sample))
    if as_json:
        print_json([{"residence": person.subject.residence, "plan": made, "unmade": un} for person, made, un in plans])
        return
    for person, made, unmade in plans:
        _show(person, made, unmade)
    if sample:
        print_table(("row", "field", "before", "after"), rows, title="sample")


def _subject(residence: str) -> SubjectFacts:
    try:
        return SubjectFacts(residence=parse_country(residence))
    except MalformedWord as exc:
        raise click.BadParameter(str(exc), param_hint="--residence") from exc


async def _planned(
    which: Which, table: str, to: DestinationId, purpose: str, stated: Person | None, sample: int
) -> tuple[list[tuple[Person, TablePlan, dict[str, str]]], list[tuple[Any, ...]]]:
    from cells.egress.worlds import rules_of

    clock, contract = SystemClock(), which.contract(table)
    rows: list[tuple[Any, ...]] = []
    async with told(), which.directory() as directory:
        rules = await rules_of(directory)
        checked(to, purpose, rules)
        made = treater(which, contract, to, purpose, rules, today(clock.unix_s()))
        people = [stated] if stated is not None else []
        if stated is None:
            async with which.world(directory, rules, contract, purpose, clock) as world:
                people, rows = await _looked(world, made, sample)
    return [(one, made.plan_of(one), made.unmade(one)) for one in people], rows


async def _looked(world: Any, made: Treater, sample: int) -> tuple[list[Person], list[tuple[Any, ...]]]:
    """The kinds of people on the first page of each shard; and rows, field by field."""
    from cells.egress.reading import FIRST

    people: dict[Person, None] = {}
    rows: list[tuple[Any, ...]] = []
    shown = 0
    for shard in world.source.shards:
        page = await world.source.page(shard, FIRST)
        facts = await world.origins.facts(page.subjects)
        for index, subject in enumerate(page.subjects):
            if subject not in facts:
                continue
            person = Person(facts[subject], page.consents[index])
            people[person] = None
            if shown < sample:
                shown += 1
                row = {name: [values[index]] for name, values in page.columns.items()}
                batch = Batch([person], row, page.drifted)
                rows += side_by_side(made, batch, f"{shown} ({person.subject.residence})")
    return list(people), rows


def side_by_side(made: Treater, batch: Batch, name: str) -> list[tuple[str, str, str, str]]:
    """Of a batch of one row, each field before and after; first why the row stays or would be held, if it does not leave."""
    treated = made.treat(batch)
    after = {field: values[0] for field, values in treated.columns.items() if values}
    why = [f"stays: {ground}" for ground in treated.stayed]
    why += [f"in quarantine: {one.kind} in {one.field}" for one in treated.held]
    fields = [(name, field, _short(value), _short(after.get(field))) for field, (value,) in batch.columns.items()]
    return [*((name, "", "", line) for line in why), *fields]


def _short(value: Any) -> str:
    text = "" if value is None else as_text(value) if isinstance(value, dict | list) else str(value)
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}…"


def _show(person: Person, made: TablePlan, unmade: dict[str, str]) -> None:
    what = "rows go" if made.goes else "no row goes"
    click.echo(
        f"{person.subject.residence}, consent {person.consent.value}: {what}: {made.answer.value}, {made.ground}"
    )
    rows = []
    for one in made.fields:
        becomes = "stays" if one.name in unmade else str(one.treatment)
        rows.append((one.name, one.type, becomes, unmade.get(one.name, one.why.value), one.selector, one.ground))
    print_table(("field", "type", "becomes", "why", "selector", "ground"), rows)
    owed = [(one.regime, one.action, f"{one.deadline} {one.unit} {one.relative_to}") for one in made.duties]
    print_table(("regime", "owed", "when"), owed, title="obligations")
