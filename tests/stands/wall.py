"""Two worlds that an engineer must not be able to tell apart: shards on real Postgres whose own rows look alike behind the masks, and whose
values there, foreign rows and moved subjects are all different. Whatever differs between them came through the wall."""

import datetime
import random
import secrets
import string
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg

from cells.breakglass.door.ports import Session
from cells.breakglass.wall.server import preparation
from cells.breakglass.wall.views import install
from cells.breakglass.wall.wall import Wall
from cells.records.contracts import Contract, parse
from cells.shards.shard import Dsns, Shard
from deploy.local.postgres import PostgresServer
from directory.placement.core import State
from foundation.clock import SystemClock
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.words import SubjectId
from tests.stands.shard import S1, database_of, drop_database, make_shard_database, place, shard_of

PEOPLE = """
table: people
placed_by: subject_id
owner: subject_id
columns:
  subject_id: {type: uuid, class: pseudonymous}
  id:         {type: uuid, class: none}
  name:       {type: text, class: direct}
  email:      {type: text, class: direct, purposes: [service]}
  born:       {type: date, class: quasi}
  seen:       {type: timestamptz, class: quasi}
  city:       {type: text, class: quasi}
  weight:     {type: int, class: quasi}
  handle:     {type: text, class: pseudonymous}
  diary:      {type: text, class: free_text}
  tags:       {type: "text[]", class: free_text}
  illness:    {type: text, class: special}
  card:       {type: text, class: direct, sealed: true}
  shadow:     {type: text}
  friend:     {type: uuid, class: pseudonymous, subject_ref: true}
  profile:    {type: jsonb, class: none, members: {mail: {type: text, class: direct}}}
  rate:       {type: int, class: none, purposes: [billing]}
  points:     {type: int, class: none}
  level:      {type: text, class: none}
"""
PAYMENTS = """
table: payments
placed_by: subject_id
owner: subject_id
columns:
  subject_id: {type: uuid, class: pseudonymous}
  id:         {type: uuid, class: none}
  amount:     {type: bigint, class: none}
  iban:       {type: text, class: direct}
  memo:       {type: text, class: free_text}
  paid_at:    {type: timestamptz, class: none}
"""
DDL = """
CREATE SCHEMA product;
CREATE TABLE product.people (
    subject_id uuid NOT NULL, id uuid NOT NULL, name text, email text, born date, seen timestamptz, city text, weight int, handle text,
    diary text, tags text[], illness text, card text, shadow text, friend uuid, profile jsonb, rate int, points int, level text,
    salary int, PRIMARY KEY (subject_id, id)
);
CREATE TABLE product.payments (
    subject_id uuid NOT NULL, id uuid NOT NULL, amount bigint, iban text, memo text, paid_at timestamptz, PRIMARY KEY (subject_id, id)
);
CREATE INDEX payments_by_amount ON product.payments (amount);
CREATE TABLE product.salaries (subject_id uuid NOT NULL, salary int);
CREATE FUNCTION product.whole_name(uuid) RETURNS text LANGUAGE sql SECURITY DEFINER
    AS 'SELECT name FROM product.people WHERE subject_id = $1 LIMIT 1';
GRANT USAGE ON SCHEMA product TO domicile_records;
GRANT SELECT, INSERT, UPDATE, DELETE ON product.people, product.payments TO domicile_records;
"""
KEY = Secret(b"k" * 32)
SEED = 20_261_126
"""Of what both worlds have in common."""
SUBJECTS = tuple(SubjectId(str(uuid.UUID(int=random.Random(SEED + n).getrandbits(128), version=4))) for n in range(4))
"""The ticket's: two at home, one that has moved and left its rows behind, one that never was here."""
HOME, ALSO_HOME, MOVED, NOWHERE = SUBJECTS
_ROWS_EACH = 6


def contracts() -> dict[str, Contract]:
    return {"people": parse(PEOPLE, where="people.yaml"), "payments": parse(PAYMENTS, where="payments.yaml")}


class World:
    """One of the two. `raw`: what masks hide of the rows that are shown; `foreign`: what else there is; neither may ever come out."""

    def __init__(self, wall: Wall, shard: Shard, dsns: Dsns, server: PostgresServer) -> None:
        self.wall = wall
        self.shard = shard
        self.dsns = dsns
        self.server = server
        self.raw: set[str] = set()
        self.foreign: set[str] = set()
        self.guesses: dict[str, str] = {}

    def session(self, *, inside: bool, **changes: Any) -> Session:
        given: dict[str, Any] = {
            "id": secrets.token_hex(16), "grant": secrets.token_hex(16), "engineer": "engineer:alice", "certificate": "1",
            "purpose": "debugging", "ticket": "OPS-7", "shard": S1, "inside": inside, "subjects": SUBJECTS,
            "expires_at": SystemClock().unix_s() + 600,
        }  # fmt: skip
        return Session(**{**given, **changes})

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """A connection as the engineers' role, admitted by nobody yet."""
        async with connect(await self.wall.credentials(S1, inside=True), application_name="engineer") as connection:
            yield connection

    @asynccontextmanager
    async def engineer(
        self, *, inside: bool = True, **changes: Any
    ) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        session = self.session(inside=inside, **changes)
        async with self.connected() as connection:
            await self.wall.admit(session, connection.get_server_pid())
            yield connection
            await self.wall.leave(session.id)

    async def as_admin(self, *statements: str) -> None:
        async with connect(self.server.dsn(database_of(self.dsns))) as admin:
            for statement in statements:
                await admin.execute(statement)


@asynccontextmanager
async def world(server: PostgresServer, seed: int) -> AsyncIterator[World]:
    name, dsns = await make_shard_database(server, DDL)
    try:
        shard = shard_of(dsns, contracts())
        async with shard.opened(), connect(server.dsn(name)) as admin:
            await admin.execute(preparation())
            built = World(Wall(shards={S1: shard}, contracts=contracts(), key=KEY), shard, dsns, server)
            for subject, state in ((HOME, State.ACTIVE), (ALSO_HOME, State.FROZEN), (MOVED, State.MOVED)):
                await place(shard, subject, state=state)
            await _fill(built, admin, seed)
            async with shard.as_owner() as owner:
                await install(owner, contracts())
            yield built
    finally:
        await drop_database(server, name)


@asynccontextmanager
async def two_worlds(server: PostgresServer) -> AsyncIterator[tuple[World, World]]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(world(server, 1)), await stack.enter_async_context(world(server, 2))


async def _fill(built: World, admin: "asyncpg.Connection[asyncpg.Record]", seed: int) -> None:
    chance = random.Random(seed)
    people, payments = [], []
    alike = random.Random(SEED)
    for subject in (HOME, ALSO_HOME):
        for number in range(_ROWS_EACH):
            people.append(_person(subject, alike, chance, friend=HOME if number == 0 else _id(chance)))
            payments.append(_payment(subject, alike, chance))
    people[0]["seen"] = datetime.datetime(2026, 1, 1, 6 if seed % 2 else 20, 7, 8, tzinfo=datetime.UTC)
    built.raw = {text for row in people for text in _texts(row, _HIDDEN)} | {row["iban"] for row in payments}
    built.raw |= {row["memo"] for row in payments}
    others = [MOVED, *(_id(chance) for _ in range(60 + chance.randrange(9)))]
    strange = [_person(other, chance, chance, friend=HOME) for other in others for _ in range(1 + chance.randrange(4))]
    paid = [_payment(other, chance, chance) for other in others for _ in range(1 + chance.randrange(6))]
    built.foreign = {text for row in (*strange, *paid) for text in _texts(row, frozenset(row) - {"friend"})} - {
        str(MOVED)
    }
    for other in others[1:]:
        await place(built.shard, SubjectId(other))
    for table, rows in (("people", [*people, *strange]), ("payments", [*payments, *paid])):
        columns = list(rows[0])
        values = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
        await admin.executemany(
            f"INSERT INTO product.{table} ({', '.join(columns)}) VALUES ({values})",
            [list(row.values()) for row in rows],
        )
    await admin.executemany(
        "INSERT INTO product.salaries VALUES ($1, $2)", [(row["subject_id"], row["salary"]) for row in people]
    )
    await admin.execute("ANALYZE")
    one, stranger = people[0], strange[-1]
    built.guesses = {
        "own": str(HOME), "own_id": str(one["id"]), "moved": str(MOVED), "name": one["name"], "email": one["email"],
        "born": str(one["born"]), "illness": one["illness"], "diary": one["diary"], "city": one["city"], "card": one["card"],
        "handle": one["handle"], "salary": str(one["salary"]), "mail": one["profile"][9:-1].strip('"'),
        "foreign": str(stranger["subject_id"]),
        "foreign_id": str(stranger["id"]), "foreign_points": str(stranger["points"]), "foreign_level": stranger["level"],
        "foreign_name": stranger["name"], "foreign_amount": str(paid[-1]["amount"]), "iban": payments[0]["iban"],
    }  # fmt: skip


_HIDDEN = frozenset(
    {"name", "email", "born", "seen", "city", "weight", "diary", "tags", "illness", "card", "shadow", "friend", "profile", "rate", "salary"}
)  # fmt: skip


def _person(subject: str, alike: random.Random, chance: random.Random, *, friend: str) -> dict[str, Any]:
    """`alike`: draws what is shown of it, the same in both worlds for rows of the ticket; `chance`: what is hidden, and differs."""

    born = datetime.date(1950 + alike.randrange(50), 1, 2) + datetime.timedelta(days=chance.randrange(360))
    seen = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(
        seconds=chance.randrange(60, 31_000_000)
    )
    return {
        "subject_id": subject, "id": _id(alike), "name": f"{_word(chance, 7).title()} {_word(chance, 9).title()}",
        "email": f"{_word(chance, 8)}@{_word(chance, 9)}.test", "born": born, "seen": seen, "city": _word(chance, 10).title(),
        "weight": chance.randrange(700_000_000, 800_000_000), "handle": _word(alike, 11),
        "diary": " ".join(_word(chance, 6) for _ in range(5)), "tags": [_word(chance, 8)],
        "illness": _word(chance, 4 + chance.randrange(9)), "card": _word(chance, 16), "shadow": _word(chance, 9), "friend": friend,
        "profile": f'{{"mail": "{_word(chance, 12)}"}}', "rate": chance.randrange(800_000_000, 900_000_000),
        "points": alike.randrange(100_000_000, 200_000_000), "level": _word(alike, 12),
        "salary": chance.randrange(900_000_000, 1_000_000_000),
    }  # fmt: skip


def _payment(subject: str, alike: random.Random, chance: random.Random) -> dict[str, Any]:

    paid_at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(
        seconds=alike.randrange(31_000_000)
    )
    return {
        "subject_id": subject, "id": _id(alike), "amount": alike.randrange(10**12, 10**13),
        "iban": f"DE{chance.randrange(10**19, 10**20)}", "memo": " ".join(_word(chance, 5) for _ in range(4)), "paid_at": paid_at,
    }  # fmt: skip


def _id(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def _word(chance: random.Random, length: int) -> str:
    return "".join(chance.choice(string.ascii_lowercase) for _ in range(length))


def _texts(row: dict[str, Any], columns: frozenset[str]) -> set[str]:
    found: set[str] = set()
    for name in columns & set(row):
        value = row[name]
        if isinstance(value, list):
            found |= set(value)
        elif name == "profile":
            found.add(value[9:-1].strip('"'))
        elif name == "seen" or name == "paid_at":
            found.add(f"{value:%Y-%m-%d %H:%M:%S}")
        elif value is not None and str(value) != HOME:
            found.add(str(value))
    return found
