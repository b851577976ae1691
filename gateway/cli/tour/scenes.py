"""Scenes of ordinary life: signing up, reading and writing."""

import asyncio
from collections import Counter, defaultdict
from typing import Any

import msgspec

from gateway.cli.tour.people import Person
from gateway.cli.tour.stage import Answer, Stage

CONCURRENT_MAX = 12
ORDERS_EACH = 2
REFUSED_COUNTRY = "BR"
CARRIED = "requests from another region carried home"
SENT = "requests from another region sent home with 421"
TURNED_AWAY = "requests from another region refused with 451"


class Resident(msgspec.Struct, kw_only=True):
    """A person with a home: region, cell, and the orders that were acknowledged."""

    person: Person
    region: str
    cell: str
    jurisdiction: str
    ground: str
    token: str
    orders: list[str] = []
    subject_id: str = ""


def _home_region(stage: Stage, origin: str) -> str:
    for name, region in stage.stack.regions.items():
        if region.gateway == origin:
            return name
    raise LookupError(f"a preview named an origin that is no gateway of this stack: {origin}")


async def sign_up_everybody(stage: Stage, people: tuple[Person, ...]) -> list[Resident]:
    """Residence first: preview at any gateway, then sign up at home. Returns those who got a home."""
    gate = asyncio.Semaphore(CONCURRENT_MAX)
    regions = sorted(stage.stack.regions)

    async def one(number: int, person: Person) -> Resident | None:
        async with gate:
            return await _sign_up(stage, person, asked_at=regions[number % len(regions)])

    found = await asyncio.gather(*(one(number, person) for number, person in enumerate(people)))
    residents = [resident for resident in found if resident is not None]
    _show_groups(stage, residents)
    countries = len({resident.person.country for resident in residents})
    stage.report.check(
        f"{len(people)} people of {len({person.country for person in people})} countries have a home",
        len(residents) == len(people),
        f"{len(residents)} people, {countries} countries",
    )
    await _no_cell(stage)
    return residents


async def _sign_up(stage: Stage, person: Person, *, asked_at: str) -> Resident | None:
    query = f"residence={person.country}&service=orders"
    preview = await stage.ask(
        "GET", f"{stage.gateway(asked_at)}/.well-known/domicile/preview?{query}", address=person.address
    )
    if preview.status != 200:
        return None
    region = _home_region(stage, preview.body["home"])
    token = await stage.token(person, region)
    profile = {
        "name": person.name, "email": person.email, "locale": person.locale, "birth_date": person.birth_date,
    }  # fmt: skip
    answer = await stage.ask(
        "POST",
        f"{stage.gateway(region)}/orders/sign-up?residence={person.country}",
        token=token,
        address=person.address,
        json=profile,
    )
    if answer.status not in (200, 201):
        return None
    return Resident(
        person=person,
        region=region,
        cell=answer.headers.get("domicile-cell", "?"),
        jurisdiction=preview.body["jurisdiction"],
        ground=preview.body["ground"],
        token=token,
    )


def _show_groups(stage: Stage, residents: list[Resident]) -> None:
    groups: dict[str, list[Resident]] = defaultdict(list)
    for resident in residents:
        groups[resident.person.country].append(resident)
    rows: list[list[object]] = [
        [country, len(group), group[0].jurisdiction, group[0].cell, group[0].ground, group[0].person.name]
        for country, group in sorted(groups.items())
    ]
    stage.report.table(
        "Homes by country of residence", ["country", "# people", "jurisdiction", "cell", "ground", "such as"], rows
    )


async def _no_cell(stage: Stage) -> None:
    region = next(iter(stage.stack.regions))
    answer = await stage.ask(
        "GET", f"{stage.gateway(region)}/.well-known/domicile/preview?residence={REFUSED_COUNTRY}&service=orders"
    )
    stage.report.check(
        f"a residence that no cell serves ({REFUSED_COUNTRY}) is refused, not guessed",
        answer.status == 451 and answer.code == "no_cell_allowed",
        f"{answer.status} {answer.code}",
    )


async def read_and_write(stage: Stage, residents: list[Resident]) -> None:
    """Orders through the product service, profiles and orders through the records API, at home and from elsewhere."""
    gate = asyncio.Semaphore(CONCURRENT_MAX)
    seen: Counter[str] = Counter()

    async def one(resident: Resident) -> None:
        async with gate:
            await _at_home(stage, resident, seen)
            await _from_elsewhere(stage, resident, seen)

    await asyncio.gather(*(one(resident) for resident in residents))
    everybody = len(residents)
    expected = {
        "orders written through the product service": everybody * ORDERS_EACH,
        "people who read exactly their own orders there": everybody,
        "people who read their own profile through the records API": everybody,
        "notes changed through the records API": everybody,
        **{way: 2 * sum(_way(one) is way for one in residents) for way in (CARRIED, SENT, TURNED_AWAY)},
    }
    for promise, count in expected.items():
        stage.report.check(promise, seen[promise] == count, f"{seen[promise]} of {count}")
    stage.report.check("no answer held an unclassified column", seen["unclassified"] == 0, seen["unclassified"])
    await _taken_email(stage, residents)


async def _at_home(stage: Stage, resident: Resident, seen: Counter[str]) -> None:
    base = stage.gateway(resident.region)
    who: dict[str, Any] = {"token": resident.token, "address": resident.person.address}
    for number in range(ORDERS_EACH):
        order = {"item": f"kettle {number + 1}", "quantity": 1, "total_cents": 4990, "currency": "EUR"}
        created = await stage.ask("POST", f"{base}/orders", json=order, **who)
        if created.status == 201 and created.headers.get("domicile-cell") == resident.cell:
            seen["orders written through the product service"] += 1
            resident.orders.append(created.body["id"])
    listed = await stage.ask("GET", f"{base}/orders", **who)
    if listed.status == 200 and set(resident.orders) <= {row["id"] for row in _rows(listed)}:
        seen["people who read exactly their own orders there"] += 1
    profile = await stage.ask("GET", f"{base}/records/profiles?select=*", **who)
    if profile.status == 200 and [row["email"] for row in profile.body] == [resident.person.email]:
        seen["people who read their own profile through the records API"] += 1
        resident.subject_id = profile.body[0]["subject_id"]
    seen["unclassified"] += sum("internal_score" in row for row in profile.body or [])
    changed = await stage.ask(
        "PATCH",
        f"{base}/records/orders?id=eq.{resident.orders[0] if resident.orders else ''}",
        json={"note": "by the door"},
        **who,
    )
    if changed.status in (200, 204):
        seen["notes changed through the records API"] += 1


def _rows(answer: Answer) -> list[dict[str, Any]]:
    body = answer.body
    if isinstance(body, dict):
        body = body.get("orders", [])
    return list(body or [])


async def _from_elsewhere(stage: Stage, resident: Resident, seen: Counter[str]) -> None:
    wrong = stage.gateway(stage.other_region(resident.region))
    for path in ("/orders", "/records/profiles"):
        answer = await stage.ask("GET", wrong + path, token=resident.token, address=resident.person.address)
        home = (answer.body or {}).get("home") if isinstance(answer.body, dict) else None
        verdict, cell = (answer.headers.get(f"domicile-{name}") for name in ("verdict", "cell"))
        if answer.status == 421 and answer.code == "home_elsewhere" and home == stage.gateway(resident.region):
            seen[SENT] += _way(resident) is SENT
        elif answer.status == 451 and answer.code == "residency_refused":
            seen[TURNED_AWAY] += _way(resident) is TURNED_AWAY
        elif answer.status == 200 and (verdict, cell) == ("hairpin", resident.cell):
            seen[CARRIED] += _way(resident) is CARRIED


def _way(resident: Resident) -> str:
    """What the stack's policy and the law say of this person in the first region that is not theirs: Americans are carried from
    Frankfurt, nothing stands against it; Europeans are sent home from Mumbai, nobody signed what the law asks for; Indians are refused.
    """
    return {"us": CARRIED, "in": TURNED_AWAY}.get(resident.region, SENT)


async def _taken_email(stage: Stage, residents: list[Resident]) -> None:
    """Another person (another `sub`, another country) cannot take an e-mail that already has a home."""
    owner = residents[0]
    thief = next(one for one in residents if one.region != owner.region)
    token = await stage.token(owner.person, thief.region, sub="tour|somebody else")
    answer = await stage.ask(
        "POST",
        f"{stage.gateway(thief.region)}/orders/sign-up?residence={thief.person.country}",
        token=token,
        json={"name": "Somebody Else", "email": owner.person.email, "locale": "en-US", "birth_date": "1990-01-01"},
    )
    stage.report.check(
        "an e-mail that has a home in one cell cannot sign up in another",
        answer.status == 409 and answer.code == "key_taken",
        f"{answer.status} {answer.code}",
    )
