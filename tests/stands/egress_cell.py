"""A cell that releases, for tests: its contracts and destinations, keys and settings, people with rows and answers, the command."""

import asyncio
import base64
import secrets
from pathlib import Path
from typing import Literal

import msgspec
from click.testing import CliRunner, Result

from cells.egress.settings import EgressSettings
from deploy.local.render import toml
from foundation.ledger.notes import Signer
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.settings import KeyringFile
from foundation.words import SubjectId
from gateway.cli.main import cli
from tests.stands.cell import Stand
from tests.stands.waiting import eventually

PLANTED = "planted-7f3a@leak.example"
SIGNER = Signer("egress.test/eu-de", Secret(secrets.token_bytes(32)))
DESTINATIONS = """
[destinations.near]
country = "FR"
purposes = ["analytics"]
recipient_classes = []
[destinations.far]
country = "US"
purposes = ["analytics"]
recipient_classes = []
"""
NOTES = """
table: notes
placed_by: subject_id
owner: subject_id
access:
  services: {analytics: {read: [rank]}}
columns:
  subject_id: {type: uuid, class: pseudonymous, leaving: {default: token}}
  id:         {type: uuid, class: none}
  body:       {type: text, class: free_text, leaving: {default: drop}}
  rank:       {type: int, class: none, leaving: {default: keep}}
  total:      {type: bigint, class: none, leaving: {default: bin(100)}}
  price:      {type: numeric, class: none, leaving: {default: keep}}
  done:       {type: boolean, class: none, leaving: {default: keep}}
  due:        {type: timestamptz, class: none, leaving: {default: month}}
  extra:      {type: jsonb, class: none, leaving: {default: walk}, members: {theme: {type: text, class: none, leaving: {default: keep}}}}
  span:       {type: int4range, class: none}
  card:       {type: text, class: direct, sealed: true}
  shadow:     {type: text}
"""
CONSENTS = """
table: consents
placed_by: subject_id
owner: subject_id
consent: {purpose: purpose, given: given}
columns:
  subject_id: {type: uuid, class: pseudonymous}
  id:         {type: uuid, class: none}
  purpose:    {type: text, class: none}
  given:      {type: boolean, class: none}
"""
CONSENTS_DDL = """
CREATE TABLE product.consents (
    subject_id uuid NOT NULL, id uuid NOT NULL DEFAULT gen_random_uuid(), purpose text, given boolean, PRIMARY KEY (subject_id, id));
GRANT SELECT, INSERT, UPDATE, DELETE ON product.consents TO domicile_records;
"""
ROW = """
INSERT INTO product.notes (subject_id, body, rank, total, price, due, extra, span, card, shadow)
VALUES ($1, $2, $3, 1234, 9.90, '2026-04-03 12:00Z', jsonb_build_object('theme', 'dark', 'mail', $2::text), '[1,5)', $2, $2)
"""


def keys_in(folder: Path) -> EgressSettings:
    """The keys of the cell's releases, and where their journals lie."""
    ring = KeyringFile(current="k1", keys={"k1": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()})
    for name, content in (("egress.key", SIGNER.text.reveal()), ("egress.json", msgspec.json.encode(ring).decode())):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(content)
    (folder / "egress.vkey").write_text(SIGNER.verifier.text)
    return EgressSettings(
        folder=str(folder / "runs"),
        origin=SIGNER.verifier.name,
        key_file=str(folder / "egress.key"),
        keyring=str(folder / "egress.json"),
        scan="always",
    )


def write_settings(live: Stand) -> None:
    """The cell service's own settings, as its machine has them."""
    held = live.settings(NOTES)
    keys = ("cell", "host", "port", "directory", "token_file", "cell_root_keyring", "contracts")
    stated = {key: getattr(held, key) for key in keys}
    stated["service_issuers"] = [msgspec.to_builtins(one) for one in held.service_issuers]
    stated["egress"] = msgspec.to_builtins(held.egress)
    (live.folder / "cell.toml").write_text(toml(stated))


async def person(live: Stand, rank: int, *, given: bool | None = None, residence: str = "DE") -> tuple[SubjectId, int]:
    """Somebody who is placed here, with a note, and maybe with an answer to analytics."""
    subject, epoch = await live.place(residence=residence)
    home = live.cell.context.homes.get(subject)
    assert home is not None
    async with connect(live.dsns[home.shard].owner) as db:
        await db.execute(ROW, subject, PLANTED, rank)
    if given is not None:
        await answers(live, subject, given=given)
    return subject, epoch


async def answers(live: Stand, subject: SubjectId, *, given: bool) -> None:
    """They say it to analytics, on their own shard."""
    home = live.cell.context.homes.get(subject)
    assert home is not None
    async with connect(live.dsns[home.shard].owner) as db:
        await db.execute("DELETE FROM product.consents WHERE subject_id = $1", subject)
        said = "INSERT INTO product.consents (subject_id, purpose, given) VALUES ($1, 'analytics', $2)"
        await db.execute(said, subject, given)


async def freeze(live: Stand, subject: SubjectId, epoch: int) -> None:
    """By the directory; the cell has heard of it when it returns."""
    answer = await live.directory.operator.post(f"/v1/subjects/{subject}/freeze", {"epoch": epoch, "reason": "t"})
    assert answer.status_code == 200, answer.text
    await eventually(lambda: live.stands(subject, answer.json()["placement"]["epoch"], "frozen"))


async def prepared(built: Stand, contracts: Path, scan: Literal["always", "none"] = "always") -> None:
    """Keys, a table of consents and its contract; `built` is started afterwards."""
    built.egress = msgspec.structs.replace(keys_in(built.folder), scan=scan)
    for dsns in built.dsns.values():
        async with connect(dsns.owner) as db:
            await db.execute(CONSENTS_DDL)
    contracts.mkdir(parents=True)
    (contracts / "consents.yaml").write_text(CONSENTS)


async def command(*words: str | Path) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, cli, ["egress", *map(str, words)])
