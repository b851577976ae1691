"""Scenes of egress: a table that crosses a border by its contract, with proof; and what one person shows to others."""

import json
import tempfile
from pathlib import Path
from typing import Any

from gateway.cli.tour.scenes import Resident
from gateway.cli.tour.stage import Stage

CELL, TABLE, TO, PURPOSE = "eu-de", "profiles", "us-lake", "analytics"


async def table_leaves(stage: Stage, residents: list[Resident]) -> None:
    """`domicile egress plan`, `run` and `verify`, as an operator in the cell calls them."""
    await _planned(stage)
    with tempfile.TemporaryDirectory(prefix="domicile-tour-") as out:
        released = await _released(stage, residents, Path(out))
        await _verified(stage, Path(released["folder"]))


async def _planned(stage: Stage) -> None:
    """Before anything moves: what becomes of each field of a German's row."""
    words = ("egress", "plan", TABLE, "--to", TO, "--for", PURPOSE, "--cell", CELL, "--residence", "DE", "--json")
    (planned,) = json.loads(await stage.command(*words, stateful=True))
    fields = {one["name"]: one for one in planned["plan"]["fields"]}
    rows: list[list[object]] = [[name, one["type"], _treatment(one), one["why"]] for name, one in fields.items()]
    stage.report.table(f"{TABLE} of a German, to {TO} for {PURPOSE}", ["field", "type", "becomes", "why"], rows)
    wanted = {
        "subject_id": "token",
        "email": "mask_domain",
        "birth_date": "age_band",
        "display_name": "drop",
        "phone": "drop",
    }
    seen = {name: _treatment(fields[name]) for name in wanted}
    stage.report.check("the plan says what each field would become", seen == wanted, planned["plan"]["ground"])


def _treatment(field: dict[str, Any]) -> str:
    return str(field["treatment"]["kind"])


async def _released(stage: Stage, residents: list[Resident], out: Path) -> dict[str, Any]:
    words = ("egress", "run", TABLE, "--to", TO, "--for", PURPOSE, "--cell", CELL, "--out", str(out), "--json")
    released: dict[str, Any] = json.loads(await stage.command(*words, stateful=True))
    for line in released["stayed"]:
        stage.report.say(f"stayed: {line}")
    own = [one for one in residents if one.cell == CELL]
    allowed = sum(one.jurisdiction == "eu" for one in own)
    stage.report.check(
        "rows go of whom the law lets them go, and the others stay with their ground",
        released["rows"] == allowed and any("uk -> " in line for line in released["stayed"]),
        f"{released['rows']} of {len(own)} people in {CELL}",
    )
    text = b"".join(part.read_bytes() for part in _parts(Path(released["folder"])))
    told = sum(value.encode() in text for one in own for value in (one.person.name, one.person.email, one.subject_id))
    stage.report.check(
        "no name, no address and no subject id left the cell", told == 0, f"{told} in {len(text):,} bytes"
    )
    first, _, _ = text.decode().partition("\n")
    stage.report.say(f"a row as it left: {first}")
    fates = {name: fate for name, fate in released["fields"].items() if any("dropped" in one for one in fate)}
    dropped = ", ".join(f"{name} ({', '.join(fate)})" for name, fate in fates.items())
    stage.report.check("what was dropped is counted, field by field", {"display_name", "phone"} <= set(fates), dropped)
    return released


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*"))


async def _verified(stage: Stage, folder: Path) -> None:
    """Offline, with the cell's public key alone; and that a changed byte is found."""
    key = str(Path(stage.stack.state) / "egress" / f"{CELL}.vkey")
    found = json.loads(await stage.command("egress", "verify", str(folder), "--key", key, "--json"))
    stage.report.check(
        "the release verifies offline against its signed manifest",
        found["rows"] > 0,
        f"{found['rows']} rows, {found['bytes']:,} bytes",
    )
    part = _parts(folder)[0]
    part.write_bytes(part.read_bytes().replace(b"example", b"examples", 1))
    status, _, said = await stage.tried("egress", "verify", str(folder), "--key", key)
    stage.report.check(
        "and a changed part does not", status == 1 and "is not what was released" in said, said.rpartition("Error: ")[2]
    )


async def what_one_shows(stage: Stage, residents: list[Resident]) -> None:
    """The profile's public columns, through the reader's own gateway, treated for where the reader is at home."""
    berliner, neighbour = [one for one in residents if one.person.country == "DE"][:2]
    american = next(one for one in residents if one.person.country == "US")
    indian = next(one for one in residents if one.person.country == "IN")
    before = await _booked(stage, berliner)
    seen = {}
    for reader in (neighbour, american, indian):
        url = f"{stage.gateway(reader.region)}/views/{TABLE}/{berliner.subject_id}"
        seen[reader.region] = await stage.ask("GET", url, token=reader.token, address=reader.person.address)
    shown = {region: (answer.body or {}).get("rows") for region, answer in seen.items()}
    locale = berliner.person.locale
    initials = " ".join(f"{word[0]}." for word in berliner.person.name.split())
    stage.report.check(
        "a neighbour reads what the contract makes public, and no other column",
        shown[neighbour.region] == [{"display_name": berliner.person.name, "locale": locale}],
        shown[neighbour.region],
    )
    stage.report.check(
        "to an American the same name is initials",
        shown[american.region] == [{"display_name": initials, "locale": locale}],
        shown[american.region],
    )
    told = seen[indian.region]
    stage.report.check(
        "an Indian gets nothing: nobody signed what the law asks for, and the answer says nothing of the person",
        (told.status, told.code) == (451, "residency_refused") and "ground" not in (told.body or {}),
        f"{told.status} {told.code}",
    )
    booked = await _booked(stage, berliner) - before
    stage.report.check("and the one crossing stands in the Berliner's record", booked == 1, f"{booked} booked")


async def _booked(stage: Stage, resident: Resident) -> int:
    """Views of the person that crossed a border, as the owner of the home cell's database sees them."""
    count = "SELECT count(*) AS n FROM domicile.crossing WHERE subject_id = $1::uuid AND kind = 'egress'"
    shards = stage.stack.cells[resident.cell].shards
    found = [await stage.sql(stage.owner_env(resident.cell, one), count, resident.subject_id) for one in shards]
    return sum(rows[0]["n"] for rows in found)
