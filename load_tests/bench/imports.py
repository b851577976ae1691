"""Moving people in: `python -m load_tests.bench.imports [--subjects N]`. Figures go to docs/benchmarks/imports.md.

A real PostgreSQL of its own (the directory's database and two shards), durability on; directory and cell service run as processes. The
command line places the people of a CSV file, each with issuer and sub and an e-mail address, until every fence is raised. Printed:
subjects a second, end to end and until the last batch is answered; the processor time that each process took, that of Postgres by
database, in all and by fifths of what was placed; the steps in Python, alone; and as the peer a plain COPY of the very rows into tables
of the same shape and indexes.
"""

import argparse
import asyncio
import contextlib
import datetime
import io
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from deploy.local import provision
from deploy.local.layout import database_name
from deploy.local.postgres import PostgresServer
from directory.bulk.core import Ruling
from directory.bulk.packed import PACKED_ROWS_MAX, Packed, PackedBatch, wrong
from directory.bulk.plan import decide_free, parts_of
from directory.registry.core import EMPTY
from foundation.clock import SystemClock
from foundation.mute import Secret
from foundation.postgres import connect
from gateway.cli.client import blinder_of
from gateway.cli.directory.lines import Records
from gateway.cli.directory.rows import Reader, batches, mapping
from load_tests.bench._grown import Watch, cpu_s, spent, table
from load_tests.bench._policies import policy
from load_tests.bench.scale import ISSUER, port_free, running_postgres
from routing_rules.rules import load

CELL = "eu-de"
IMPORT_S_MAX = 840
STEP_ROWS = 20_000
POLICY = policy({"records": {"eu-de": "127.0.0.1:7101"}, "orders": {"eu-de": "127.0.0.1:7201"}}, shards=2)
OPTIONS = ("--map", "sub=uid", "--set", "issuer=https://id.example", "--set", "services=orders")
COPIED = {"directory": ("directory.subject", "directory.history", "directory.lookup_key"), "shard": ("domicile.home",)}


class Tokens:
    """A service issuer, and the part of settings by which processes believe it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        public = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).to_jwk(self._key.public_key())
        jwks = folder / "jwks.json"
        jwks.write_text(f'{{"keys": [{public[:-1]}, "kid": "b1", "alg": "ES256", "use": "sig"}}]}}')
        self.settings = f'service_issuers = [{{ issuer = "{ISSUER}", audience = "domicile", jwks = "{jwks}" }}]\n'

    def file(self, actor: str, *roles: str) -> Path:
        now = int(SystemClock().unix_s())
        claims = {"iss": ISSUER, "aud": "domicile", "sub": actor, "roles": list(roles), "iat": now, "exp": now + 3600}
        text = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": "b1"})
        return secret_file(self._folder / f"{actor.replace(':', '-')}.jwt", text)


def secret_file(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def keyring(path: Path) -> Path:
    return secret_file(path, json.dumps({"current": "k1", "keys": {"k1": secrets.token_urlsafe(32)}}))


@contextmanager
def process(folder: Path, module: str, settings: str, environment: dict[str, str]) -> Iterator[tuple[str, int]]:
    """`python -m module` with these settings, ready; its URL and pid."""
    port = port_free()
    path = folder / f"{module}.toml"
    path.write_text(f'host = "127.0.0.1"\nport = {port}\n{settings}')
    command = [sys.executable, "-P", "-m", module, "--settings", str(path)]
    with (folder / f"{module}.log").open("wb") as log:
        child = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log)
    try:
        wait_ready(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}", child.pid
    finally:
        child.terminate()
        child.wait(20)


def wait_ready(url: str) -> None:
    for _ in range(600):
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz", trust_env=False, timeout=2).status_code == 200:
                return
        time.sleep(0.1)
    raise SystemExit(f"{url} did not become ready")


def users(path: Path, count: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.write("uid,email,residence\n")
        file.writelines(f"user-{number},user.{number}@example.org,DE\n" for number in range(count))
    return path


def steps(file: Path, ring: Path, count: int) -> None:
    """Each step in Python alone, one after the other in this process: rows a second."""
    reader = Reader(mapping(("sub=uid",), ("issuer=https://id.example", "services=orders"), {}), blinder_of(ring))
    rules, today = load(POLICY), datetime.datetime.fromtimestamp(SystemClock().unix_s(), datetime.UTC).date()
    made: list[Packed] = []
    sent: list[bytes] = []

    def blind() -> None:
        made.extend(one.good for one in batches(Records(file), reader, PACKED_ROWS_MAX) if one.good is not None)

    def encode() -> None:
        sent.extend(msgspec.msgpack.encode(PackedBatch(number=at, rows=rows)) for at, rows in enumerate(made))

    def decode() -> None:
        for body in sent:
            wrong(msgspec.msgpack.decode(body, type=PackedBatch).rows)

    def decided() -> None:
        for rows in made:
            plan = decide_free(rows, Ruling(rules, EMPTY, today), draw=secrets.token_bytes)
            if plan is None:
                raise SystemExit("a key stands twice")
            parts_of(plan)

    for name, step in {"read and blind": blind, "columns out": encode, "columns in": decode, "decide": decided}.items():
        print(f"| {name} | {timed(step, count):,.0f} |", flush=True)


def timed(step: Callable[[], None], count: int) -> float:
    """Rows a second of this process's own time, so that neighbours on the machine do not count."""
    started = time.process_time()
    step()
    return count / (time.process_time() - started)


async def copied(dsn: Secret[str], tables: tuple[str, ...]) -> tuple[float, float]:
    """Seconds that a plain COPY of these tables' rows takes into others of their shape and indexes, without foreign keys; and Postgres's
    processor seconds of it."""
    seconds = cpu = 0.0
    async with connect(dsn) as connection:
        await connection.execute("CREATE SCHEMA peer")
        for table in tables:
            name = table.split(".")[1]
            await connection.execute(f"CREATE TABLE peer.{name} (LIKE {table} INCLUDING ALL)")
            rows = io.BytesIO()
            await connection.copy_from_query(f"TABLE {table}", output=rows, format="binary")
            rows.seek(0)
            before, started = cpu_s(connection.get_server_pid()), time.perf_counter()
            await connection.copy_to_table(name, schema_name="peer", source=rows, format="binary", timeout=600)
            seconds += time.perf_counter() - started
            cpu += cpu_s(connection.get_server_pid()) - before
    return seconds, cpu


def imported(file: Path, url: str, token: Path, ring: Path) -> tuple[dict[str, float], float, float]:
    """What the command told, seconds until it ended, and its processor seconds."""
    command = [str(Path(sys.executable).with_name("domicile")), "directory", "import", str(file), *OPTIONS, "--json"]
    reach = ["--directory", url, "--token-file", str(token), "--blinding-keyring", str(ring)]
    before, started = os.times(), time.perf_counter()
    done = subprocess.run([*command, *reach], check=False, capture_output=True, timeout=IMPORT_S_MAX)
    seconds, after = time.perf_counter() - started, os.times()
    if done.returncode:
        raise SystemExit(done.stderr.decode())
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return json.loads(done.stdout), seconds, cpu


async def measured(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="imports-bench-") as name:
        folder = Path(name)
        async with running_postgres(folder) as server:
            await _measured(folder, server, count)


async def _measured(folder: Path, server: PostgresServer, count: int) -> None:
    passwords = {role: Secret(secrets.token_urlsafe(16)) for role in ("owner", "cell", "records")}
    for empty in ("product", "contracts"):
        (folder / empty).mkdir()
    await provision.cell(server, CELL, passwords, folder / "product")
    async with connect(server.dsn()) as admin:
        await admin.execute("CREATE DATABASE directory")
    dsns = {
        f"EU_DE_{shard.upper()}_{role.upper()}": server.dsn(
            database_name(CELL, shard), user=f"domicile_{role}", password=word
        )
        for shard in ("s1", "s2")
        for role, word in passwords.items()
    }
    tokens, ring, file = Tokens(folder), keyring(folder / "blinding.json"), users(folder / "users.csv", count)
    operator = tokens.file("operator:bench", "operator", "rules")
    cell_token = tokens.file(f"cell:{CELL}", "resolver", f"cell:{CELL}", f"signup:{CELL}")
    settings = f'dsn_env = "BENCH_DSN"\n{tokens.settings}'
    with process(folder, "directory", settings, {"BENCH_DSN": server.dsn("directory").reveal()}) as (url, directory):
        publish(url, operator)
        settings = (
            f'cell = "{CELL}"\ndirectory = "{url}"\ntoken_file = "{cell_token}"\ncontracts = "{folder / "contracts"}"\n'
            f'cell_root_keyring = "{keyring(folder / "root.json")}"\n{tokens.settings}'
        )
        with process(folder, "cells", settings, {name: dsn.reveal() for name, dsn in dsns.items()}) as (_, cell):
            watch, done = (
                Watch(server.dsn("directory"), {"directory": directory, "cell service": cell}),
                asyncio.Event(),
            )
            async with asyncio.TaskGroup() as group:
                group.create_task(watch.run(done), name="watch")
                told, seconds, command = await asyncio.to_thread(imported, file, url, operator, ring)
                done.set()
            say(count, told, seconds)
    print("\n| processor time of | s | µs a subject |\n| --- | ---: | ---: |")
    for who, taken in ({"command": command} | spent(watch.looks)).items():
        print(f"| {who} | {taken:.2f} | {taken / count * 1e6:.1f} |")
    print(f"\nµs of processor time a subject by fifths, without the command\n\n{table(watch.looks)}")
    print("\n| step in Python, alone | rows/s of processor time |\n| --- | ---: |")
    steps(users(folder / "steps.csv", STEP_ROWS), ring, STEP_ROWS)
    shards = [server.dsn(database_name(CELL, shard)) for shard in ("s1", "s2")]
    took = [await copied(server.dsn("directory"), COPIED["directory"])]
    took += [await copied(one, COPIED["shard"]) for one in shards]
    seconds, cpu = sum(one[0] for one in took), sum(one[1] for one in took)
    print(
        f"\npeer, COPY of the same rows: {seconds:.2f} s, {count / seconds:,.0f} subjects/s;"
        f" {cpu / count * 1e6:.1f} µs of Postgres's processor time a subject"
    )


def publish(url: str, token: Path) -> None:
    headers = {"authorization": f"Bearer {token.read_text()}"}
    body = {"policy": POLICY, "reason": "bench"}
    httpx.post(f"{url}/v1/rules", headers=headers, json=body, trust_env=False, timeout=30).raise_for_status()


def say(count: int, told: dict[str, float], seconds: float) -> None:
    if told["placed"] != count or told["waiting"]:
        raise SystemExit(f"not everybody was placed: {told}")
    print(
        f"{count:,} subjects, 2 lookup keys each: {count / told['seconds']:,.0f} subjects/s until the last batch was answered,"
        f" {count / seconds:,.0f} until every fence was raised and the command had ended"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=1_000_000)
    asyncio.run(measured(parser.parse_args().subjects))
    return 0


if __name__ == "__main__":
    sys.exit(main())
