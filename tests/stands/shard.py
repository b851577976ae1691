"""A cell for tests: shard databases with the three roles on real Postgres, contracts and a product table of their own."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from cells.records.contracts import Contract, parse
from cells.shards.core import Home
from cells.shards.homes import Homes
from cells.shards.shard import Dsns, Open, Shard
from deploy.local import postgres
from directory.placement.core import State
from foundation.clock import SystemClock
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.words import CellId, Epoch, ShardId, SubjectId

CELL = CellId("eu-de")
S1 = ShardId("s1")
ROLES = ("domicile_owner", "domicile_cell", "domicile_records")
PASSWORD = "only-in-tests"

NOTES = """
table: notes
placed_by: subject_id
owner: subject_id
rows: owner
access:
  person: {read: "*", write: [body, done, due]}
  services: {orders: {read: "*", write: "*"}, analytics: {read: [subject_id, id, rank, body], write: []}}
columns:
  subject_id: {type: uuid, class: pseudonymous}
  id:         {type: uuid, class: none}
  body:       {type: text, class: free_text, purposes: [service]}
  rank:       {type: int, class: none}
  total:      {type: bigint, class: none}
  price:      {type: numeric, class: none}
  done:       {type: boolean, class: none}
  due:        {type: timestamptz, class: none}
  extra:      {type: jsonb, class: none}
  span:       {type: int4range, class: none}
  stay:       {type: tstzrange, class: none}
  card:       {type: text, class: direct, sealed: true}
  shadow:     {type: text}
"""

NOTES_DDL = """
CREATE SCHEMA product;
CREATE TABLE product.notes (
    subject_id uuid NOT NULL, id uuid NOT NULL DEFAULT gen_random_uuid(), body text, rank int CHECK (rank >= 0), total bigint,
    price numeric, done boolean NOT NULL DEFAULT false, due timestamptz, extra jsonb, span int4range, stay tstzrange,
    card text, shadow text DEFAULT 'unseen',
    epoch bigint, PRIMARY KEY (subject_id, id), UNIQUE (subject_id, rank)
);
GRANT USAGE ON SCHEMA product TO domicile_records;
GRANT SELECT, INSERT, UPDATE, DELETE ON product.notes TO domicile_records;
"""
TENANTS = NOTES.replace("owner: subject_id", "owner: person_id").replace(
    "  body:   ", "  person_id:  {type: uuid, class: pseudonymous}\n  body:   "
)
"""The same notes where tenants are placed: a row is one person's of a tenant."""
TENANTS_DDL = NOTES_DDL.replace("subject_id uuid NOT NULL,", "subject_id uuid NOT NULL, person_id uuid NOT NULL,", 1)


def notes() -> Contract:
    return parse(NOTES, where="notes.yaml")


async def make_roles(server: postgres.PostgresServer) -> None:
    async with connect(server.dsn()) as admin:
        for role in ROLES:
            with_role = f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'"
            await admin.execute(f"DO $$ BEGIN {with_role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$")


async def make_shard_database(server: postgres.PostgresServer, ddl: str = NOTES_DDL) -> tuple[str, Dsns]:
    """A database as whoever provisions a shard makes it: owned by domicile_owner, with the product's tables."""
    await make_roles(server)
    name = f"shard_{secrets.token_hex(6)}"
    async with connect(server.dsn()) as admin:
        await admin.execute(f"CREATE DATABASE {name} OWNER domicile_owner")
    owner, cell, records = (server.dsn(name, user=role, password=Secret(PASSWORD)) for role in ROLES)
    async with connect(owner) as connection:
        await connection.execute(ddl)
    return name, Dsns(owner=owner, cell=cell, records=records)


async def drop_database(server: postgres.PostgresServer, name: str) -> None:
    async with connect(server.dsn()) as admin:
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def shard_of(dsns: Dsns, contracts: dict[str, Contract] | None = None, shard: ShardId = S1) -> Shard:
    clock = SystemClock()
    homes = Homes(started_unix_s=clock.unix_s())
    held = {"notes": notes()} if contracts is None else contracts
    return Shard(cell=CELL, shard=shard, dsns=dsns, contracts=held, homes=homes, clock=clock)


@asynccontextmanager
async def open_shard(server: postgres.PostgresServer, ddl: str = NOTES_DDL) -> AsyncIterator[tuple[Shard, Open, Dsns]]:
    name, dsns = await make_shard_database(server, ddl)
    try:
        shard = shard_of(dsns)
        async with shard.opened() as opened:
            yield shard, opened, dsns
    finally:
        await drop_database(server, name)


def home(epoch: int, state: State = State.ACTIVE, shard: ShardId = S1) -> Home:
    return Home(shard, Epoch(epoch), state, ())


async def place(shard: Shard, subject: SubjectId, epoch: int = 1, state: State = State.ACTIVE) -> None:
    await shard.raise_fence(subject, home(epoch, state))


async def rows(dsns: Dsns, sql: str, *arguments: object) -> list[asyncpg.Record]:
    async with connect(dsns.owner) as connection:
        return list(await connection.fetch(sql, *arguments))


def folder_of(path: Path, *contracts: str) -> Path:
    """A contracts folder."""
    path.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(contracts):
        (path / f"c{number}.yaml").write_text(text)
    return path


def database_of(dsns: Dsns) -> str:
    return urlsplit(dsns.owner.reveal()).path[1:]
