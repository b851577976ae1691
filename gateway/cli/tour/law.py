"""Scenes of the law: a route closed and opened again live, a traveller by each of the three ways, data that must stay."""

import asyncio
import datetime
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from foundation.clock import SystemClock
from foundation.settings import SettingsError
from foundation.words import Country, ServiceId
from gateway.cli.tour.scenes import Resident
from gateway.cli.tour.stage import Answer, Stage
from routing_rules.explain import explain_place
from routing_rules.facts import PlaceFacts, SubjectFacts
from routing_rules.place import place
from routing_rules.rules import load
from routing_rules.verdicts import Allowed

FOLLOW_MS_MAX = 1000
"""Every gateway decides by new rules within this time, or refuses."""
SERVES = 'serves = ["eu", "uk", "ch"]'
UK_TRAVELS = 'uk = "home"\n'
BERLIN_TO_VIRGINIA = '"eu->us" = '


async def route_closed_live(stage: Stage, residents: list[Resident]) -> None:
    """Frankfurt stops serving the United Kingdom while everybody reads; then the change is taken back."""
    british = next(one for one in residents if one.jurisdiction == "uk")
    german = next(one for one in residents if one.person.country == "DE")
    closed = _replaced(await _policy(stage), (SERVES, 'serves = ["eu", "ch"]'), (UK_TRAVELS, ""))
    async with _applied(stage, closed, "the tour closes a route") as change:
        stage.report.say(f"the difference in decisions: {_told(change)}")
        _followed(stage, "the closed route", change)
        answers = await _everywhere(stage, british)
        stage.report.check(
            "a person of the closed route is refused at every gateway",
            all(answer.status == 451 and answer.code == "residency_refused" for answer in answers),
            f"{len(answers)} of {len(stage.stack.regions)} gateways asked",
        )
        ground = str((answers[0].body or {}).get("ground"))
        explained = await stage.command(
            "rules", "explain", "--policy", str(change["file"]), "--residence", "GB", "--service", "orders"
        )
        stage.report.check("and the explanation says why", "no cell serves uk" in explained, ground)
        others = await stage.ask("GET", f"{stage.gateway('eu')}/orders", token=german.token)
        stage.report.check("others are served as before", others.status == 200, str(others.status))
    back = await stage.ask("GET", f"{stage.gateway('eu')}/orders", token=british.token)
    stage.report.check("rolled back, the person is served again", back.status == 200, str(back.status))


async def berliner_in_virginia(stage: Stage, residents: list[Resident]) -> None:
    """One person, one gateway abroad, each of the three ways; every crossing is booked at home before it is forwarded."""
    berliner = next(one for one in residents if one.person.country == "DE")
    before = await _crossings(stage, berliner)
    order = {"item": "currywurst", "quantity": 1, "total_cents": 450, "currency": "EUR"}
    carried = [await _in_virginia(stage, berliner), await _in_virginia(stage, berliner, order)]
    stage.report.check(
        "hairpin: reads and writes from Virginia are carried home and served in Frankfurt",
        [answer.status for answer in carried] == [200, 201]
        and all(
            (answer.headers.get("domicile-verdict"), answer.headers.get("domicile-cell")) == ("hairpin", berliner.cell)
            for answer in carried
        ),
        ", ".join(f"{answer.status} {answer.headers.get('domicile-verdict')} {answer.ms:.0f} ms" for answer in carried),
    )
    booked = await _crossings(stage, berliner) - before
    stage.report.check("and each is a crossing in the home cell's record", booked == len(carried), f"{booked} booked")
    page = json.loads(await stage.command("directory", "show", berliner.subject_id, "--json", stateful=True))
    stage.report.check(
        "which the person's page of truth shows",
        sum("hairpin" in json.dumps(one) for one in page["records"]["entries"]) >= booked,
        f"{len(page['records']['entries'])} entries on the page",
    )
    text = await _policy(stage)
    for way, status, code in (("home", 421, "home_elsewhere"), ("refuse", 451, "residency_refused")):
        changed = _replaced(text, (f'{BERLIN_TO_VIRGINIA}"hairpin"', f'{BERLIN_TO_VIRGINIA}"{way}"'))
        async with _applied(stage, changed, f"the tour tries travellers = {way}") as change:
            _followed(stage, f"travellers = {way}", change)
            answer = await _in_virginia(stage, berliner)
            stage.report.check(
                f"{way}: the same request is answered {status}",
                (answer.status, answer.code) == (status, code),
                f"{answer.status} {answer.code}: {(answer.body or {}).get('ground')}",
            )
    again = await _in_virginia(stage, berliner)
    stage.report.check("rolled back, the person is carried again", again.status == 200, str(again.status))


async def payments_of_india(stage: Stage) -> None:
    """Payment data of an Indian: stored in India, whatever policy would let another cell serve."""
    asked: dict[str, Any] = {
        "keys": [{"kind": "login", "key": secrets.token_urlsafe(24)}],
        "residence": "IN",
        "tags": ["payments"],
        "services": ["orders"],
        "reason": "the tour's payments subject",
    }
    response = await stage.control.post("/v1/subjects", json=asked)
    body = response.json()
    cell = (body.get("placement") or {}).get("cell")
    stage.report.check(
        "a payments subject of India is placed in Mumbai", response.status_code == 201 and cell == "in-mum", f"{cell}"
    )
    wide = load(_replaced(await _policy(stage), (SERVES, 'serves = ["eu", "uk", "ch", "in"]')))
    today = datetime.datetime.fromtimestamp(SystemClock().unix_s(), datetime.UTC).date()
    cells: dict[str, tuple[str, ...]] = {}
    for tags in ((), ("payments",)):
        facts = PlaceFacts(subject=SubjectFacts(residence=Country("IN"), tags=tags), services=(ServiceId("orders"),))
        answer = place(facts, wide, today)
        cells[", ".join(tags) or "no tags"] = answer.cells if isinstance(answer, Allowed) else ()
        steps = explain_place(facts, wide, today).steps
        kept = {step.row: step for step in steps if step.row is not None and step.row.startswith("storage.csv")}
        for step in kept.values():
            stage.report.say(f"{step.row}: {step.source} (as of {step.as_of}, confidence {step.confidence})")
    stage.report.check(
        "even where policy let Frankfurt serve India, payments would stay",
        cells["no tags"] == ("eu-de", "in-mum") and cells["payments"] == ("in-mum",),
        "; ".join(f"{tags}: {', '.join(found)}" for tags, found in cells.items()),
    )


async def _in_virginia(stage: Stage, resident: Resident, order: dict[str, Any] | None = None) -> Answer:
    method = "GET" if order is None else "POST"
    return await stage.ask(method, f"{stage.gateway('us')}/orders", token=resident.token, json=order)


async def _everywhere(stage: Stage, resident: Resident) -> list[Answer]:
    asked = (
        stage.ask("GET", f"{stage.gateway(region)}/orders", token=resident.token)
        for region in sorted(stage.stack.regions)
    )
    return list(await asyncio.gather(*asked))


async def _crossings(stage: Stage, resident: Resident) -> int:
    """Crossings of the person on every shard of the home cell, as the owner of the database sees them."""
    found = 0
    for shard in stage.stack.cells[resident.cell].shards:
        rows = await stage.sql(
            stage.owner_env(resident.cell, shard),
            "SELECT count(*) AS n FROM domicile.crossing WHERE subject_id = $1::uuid",
            resident.subject_id,
        )
        found += rows[0]["n"]
    return found


async def _policy(stage: Stage) -> str:
    response = await stage.control.get("/v1/rules/current")
    response.raise_for_status()
    return str(response.json()["policy"])


def _replaced(text: str, *changes: tuple[str, str]) -> str:
    """Raises SettingsError where the stack's policy is not the one that the tour knows."""
    for old, new in changes:
        if old not in text:
            raise SettingsError(
                f"the tour plays on the embedded stack's own policy; {old!r} is not in the one that holds"
            )
        text = text.replace(old, new)
    return text


@asynccontextmanager
async def _applied(stage: Stage, policy: str, reason: str) -> AsyncIterator[dict[str, Any]]:
    """`domicile rules apply` before, `domicile rules rollback` to what held after, whatever happens between."""
    file = Path(stage.stack.state) / "tour-policy.toml"
    file.write_text(policy, encoding="utf-8")
    change = json.loads(
        await stage.command("rules", "apply", str(file), "--yes", "--reason", reason, "--json", stateful=True)
    )
    try:
        yield change | {"file": file}
    finally:
        back = ("rules", "rollback", change["before"], "--yes", "--reason", f"{reason}: taken back")
        await stage.command(*back, stateful=True)
        file.unlink()


def _told(change: dict[str, Any]) -> str:
    lines = [
        f"{one['regime']}, {one['service']}, {one['where']}: {one['before']} -> {one['after']}"
        for one in change["changes"]
    ]
    return "; ".join(lines[:4]) + (f"; and {len(lines) - 4} more" if len(lines) > 4 else "")


def _followed(stage: Stage, what: str, change: dict[str, Any]) -> None:
    """Each gateway's time from before the publishing until it held the rules."""
    took = {one["region"]: one["ms"] for one in change["gateways"]}
    stage.report.check(
        f"every gateway decides by {what} within a second",
        len(took) == len(stage.stack.regions) and all(ms is not None and ms <= FOLLOW_MS_MAX for ms in took.values()),
        ", ".join(
            f"{region} {ms:.0f} ms" if ms is not None else f"{region} never" for region, ms in sorted(took.items())
        ),
    )
