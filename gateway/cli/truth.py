"""A subject's page of truth: where, why (law, source, date), since when, and what crossed a border or was refused.

Gathered from the directory and, under another credential, from the home cell's own records.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from foundation.settings import SettingsError
from foundation.words import CellId, SubjectId
from gateway.cli.client import CellService, Directory, Service
from gateway.cli.options import print_table, utc
from gateway.cli.reach import Reach, Remote, Stack, token_of
from routing_rules.explain import NOT_LEGAL_ADVICE

HISTORY_PAGE = 1000
RECORDS_PAGE = 200
PAGES_MAX = 10
ENTRIES_SHOWN = 20


def gathered(reach: Reach, subject: SubjectId, cell_token_file: Path | None = None) -> dict[str, Any]:
    """The page as JSON has it. `records` has `unavailable` instead of `entries` where the home cell cannot be asked.

    `why` is the provenance of the last entry that placed the subject, None where an earlier version placed it. Raises SettingsError.
    """
    directory = Directory(reach)
    found = directory.get(f"/subjects/{subject}")
    placement = found["placement"]
    history, more = _pages(
        lambda cursor: directory.get(f"/subjects/{subject}/history", limit=HISTORY_PAGE, cursor=cursor)
    )
    policy = _policy(directory)
    placed = [entry["provenance"] for entry in history if entry.get("provenance")]
    return {
        **found,
        "where": where(policy, placement["cell"], placement["shard"]),
        "why": placed[-1] if placed else None,
        "since": since(history),
        "history": {"entries": history, "next": more},
        "records": _records(
            _cell(reach, CellId(placement["cell"]), policy, cell_token_file), CellId(placement["cell"]), subject
        ),
        "notice": NOT_LEGAL_ADVICE,
    }


def where(policy: str | None, cell: str, shard: str) -> dict[str, str | None]:
    """Region and countries of a home by the policy text that holds; None where it does not say. Pure."""
    document = {} if policy is None else tomllib.loads(policy)
    stated = document.get("cells", {}).get(cell, {})
    region = stated.get("region")
    country = document.get("regions", {}).get(region, {}).get("country")
    return {
        "region": region,
        "country": country,
        "shard_country": stated.get("shards", {}).get(shard, {}).get("country"),
    }


def since(history: list[dict[str, Any]]) -> float | None:
    """When the subject came to be where it is: the first entry, as long as nothing moves a subject. Pure."""
    return history[0]["at"] if history else None


def _policy(directory: Directory) -> str | None:
    try:
        return str(directory.get("/rules/current")["policy"])
    except SettingsError:
        return None


def _pages(ask: Callable[[str | None], Any]) -> tuple[list[dict[str, Any]], str | None]:
    """Everything within PAGES_MAX pages, and the cursor of what is beyond."""
    entries: list[dict[str, Any]] = []
    cursor: str | None = None
    for _ in range(PAGES_MAX):
        page = ask(cursor)
        entries += page["entries"]
        cursor = page["next"]
        if cursor is None:
            break
    return entries, cursor


def cell_service(reach: Reach, cell: CellId, token_file: Path | None) -> Service:
    """A cell's service; where policy has it, with --directory. Raises SettingsError."""
    policy = None if isinstance(reach, Stack) else _policy(Directory(reach))
    return _cell(reach, cell, policy, token_file)()


def _cell(reach: Reach, cell: CellId, policy: str | None, token_file: Path | None) -> Callable[[], Service]:
    """The home cell's service, which is `records` in policy; asked for, it may raise SettingsError."""
    match reach:
        case Stack(state):
            return lambda: CellService(state, cell)
        case Remote():
            return lambda: _remote_cell(cell, policy, token_file)


def _remote_cell(cell: CellId, policy: str | None, token_file: Path | None) -> Service:
    if token_file is None:
        raise SettingsError("it takes a token of its own: --cell-token-file")
    document = {} if policy is None else tomllib.loads(policy)
    hosts = document.get("services", {}).get("records", {}).get("hosts", {}).get(cell)
    if not hosts:
        raise SettingsError("the policy that holds does not say where it is")
    return Service(f"http://{hosts[0]}", token_of(token_file), hint="the address is policy's of `records`")


def _records(service_of: Callable[[], Service], cell: CellId, subject: SubjectId) -> dict[str, Any]:
    try:
        service = service_of()
        entries, more = _pages(
            lambda cursor: service.get(f"/cell/subjects/{subject}/crossings", limit=RECORDS_PAGE, after=cursor)
        )
    except SettingsError as exc:
        return {"cell": cell, "unavailable": str(exc)}
    return {"cell": cell, "entries": entries, "next": more}


def print_page(page: dict[str, Any]) -> None:
    placement = page["placement"]
    click.echo(f"subject {placement['subject_id']}, as of event {page['as_of']}\n")
    _say("where", where_lines(page))
    _say("why", why_lines(page))
    _print_law(page["why"])
    _print_history(page)
    _print_records(page["records"])
    click.echo(page["notice"])


def where_lines(page: dict[str, Any]) -> list[str]:
    """Pure."""
    placement, place = page["placement"], page["where"]
    return [
        f"cell {placement['cell']}, shard {placement['shard']} in {place['shard_country'] or 'a country that policy does not say'}",
        f"region {place['region'] or 'unknown: policy does not say'}"
        + (f", {place['country']}" if place["country"] else ""),
        f"{placement['state']}, epoch {placement['epoch']}, for {', '.join(placement['services'])}",
        f"since {utc(page['since'])} UTC" if page["since"] is not None else "since when is not known",
    ]


def why_lines(page: dict[str, Any]) -> list[str]:
    """Pure."""
    facts, why = page["placement"]["facts"], page["why"]
    lines = [_residence(facts, why)]
    citizenships = facts.get("citizenships")
    lines.append("citizenships " + ("not asked" if citizenships is None else ", ".join(citizenships) or "none"))
    if facts.get("tags"):
        lines.append(f"data of kind {', '.join(facts['tags'])}")
    if facts.get("terms"):
        lines.append(f"terms {facts['terms']}")
    lines.append(f"regimes {', '.join(facts['regimes'])}")
    if why is None:
        return [*lines, "the version that placed this subject kept no more"]
    lines.append(why["ground"])
    lines.append(f"decided for {why['on']} under {why['rules']}")
    if why.get("valid_until"):
        lines.append(f"the rules may answer otherwise from {why['valid_until']} on")
    return [*lines, *(f"to be asked: {question}" for question in why["questions"])]


def _residence(facts: dict[str, Any], why: dict[str, Any] | None) -> str:
    part = f", part {facts['subdivision']}" if facts.get("subdivision") else ""
    basis = f", {why['basis']}" if why else ""
    declared = f" (declared {why['declared']})" if why and why.get("declared") else ""
    return f"residence {facts['residence']}{part}{basis}{declared}"


def _say(heading: str, lines: list[str]) -> None:
    for number, line in enumerate(lines):
        click.echo(f"{heading if number == 0 else '':7}{line}")
    click.echo()


def _print_law(why: dict[str, Any] | None) -> None:
    if why is None:
        return
    rows = [
        tuple(row[name] for name in ("regime", "law", "row", "source", "as_of", "confidence")) for row in why["law"]
    ]
    print_table(("regime", "law", "row", "source", "as of", "confidence"), rows, title="law")


def _print_history(page: dict[str, Any]) -> None:
    entries = page["history"]["entries"]
    shown = entries[-ENTRIES_SHOWN:]
    rows = [
        (entry["number"], utc(entry["at"]), entry["actor"], entry["from"], entry["to"], entry["epoch"], entry["reason"])
        for entry in shown
    ]
    print_table(("number", "at (UTC)", "actor", "from", "to", "epoch", "reason"), rows, title="since when")
    if len(shown) < len(entries):
        click.echo(f"{len(entries) - len(shown)} earlier ones: domicile directory history")
    if page["history"]["next"]:
        click.echo(f"later ones: domicile directory history --cursor {page['history']['next']}")


def _print_records(records: dict[str, Any]) -> None:
    if "unavailable" in records:
        click.echo(f"crossings and refusals: cell {records['cell']} cannot be asked: {records['unavailable']}\n")
        return
    shown = records["entries"][:ENTRIES_SHOWN]
    columns = ("at (UTC)", "what", "from", "service", "verb", "ground", "basis or code", "rules")
    print_table(
        columns, [_record(entry) for entry in shown], title=f"crossings and refusals, of cell {records['cell']}"
    )
    left = len(records["entries"]) - len(shown)
    if left or records["next"]:
        click.echo(f"{left}{' and more' if records['next'] else ''} older ones: --json\n")


def _record(entry: dict[str, Any]) -> tuple[Any, ...]:
    told = entry["details"]
    return (
        utc(entry["at"]),
        entry["kind"],
        told.get("from_region") or told.get("region"),
        told.get("service"),
        told.get("verb"),
        told.get("ground"),
        told.get("basis") or told.get("code"),
        (told.get("rules") or "")[: len("sha256:") + 8],
    )
