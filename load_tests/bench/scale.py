"""The directory at scale: `python -m load_tests.bench.scale [--subjects N] [--misses N]`. Figures go to docs/scale.md.

A real PostgreSQL of its own, durability on while it is measured, is given N subjects with a lookup key each, straight into the directory's
schema; the directory service runs as a process. Measured over HTTP, one question at a time and from several askers: a resolve of one key
that no cache holds. Then the boot of a client as a gateway has it, as a process: until it follows the feed and has answered; and how
fast it learns many.
"""

import argparse
import asyncio
import contextlib
import hashlib
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from deploy.local import postgres
from deploy.local.account import data_folder, outside, unprivileged
from directory.app import MIGRATIONS, TRACK
from directory.client.client import ClientLimits, DirectoryClient, Known
from directory.client.remote import HttpDirectory
from directory.feed.client import FeedFollower
from foundation.clock import SystemClock
from foundation.http import client as http_client
from foundation.mute import Secret
from foundation.postgres import connect, migrate, migrations_in
from foundation.tokens import TokenFile
from foundation.words import LookupKey
from load_tests.bench._bare import Connection, connected

ISSUER = "urn:domicile:bench:services"
ASKERS = (1, 4, 16)
SIZES = ("directory.subject", "directory.lookup_key")
BOOT_KEYS = 100_000

# Rows in the order of their primary keys, so that the indexes grow at one end; the other index over keys is made afterwards.
_FACTS = """
INSERT INTO directory.facts (regimes, residence, tags) VALUES
    ('{eu}', 'DE', '{}'), ('{eu}', 'FR', '{}'), ('{eu}', 'NL', '{}'), ('{eu}', 'IT', '{}')
"""
_SUBJECTS = """
INSERT INTO directory.subject (subject_id, cell, shard, epoch, state, services, facts_id, changes)
SELECT md5('s' || n)::uuid, 'eu-' || n % 3, 's' || n % 2, n, 'active', '{orders,records}', 1 + n % 4, 1
FROM generate_series(1, $1::bigint) AS n ORDER BY 1
"""
_KEYS = """
INSERT INTO directory.lookup_key (key, kind, subject_id)
SELECT md5('k' || n), 'login', md5('s' || n)::uuid FROM generate_series(1, $1::bigint) AS n ORDER BY 1
"""
_BY_SUBJECT = "CREATE INDEX lookup_key_alone_by_subject ON directory.lookup_key (subject_id) WHERE NOT imported"
_HEAD = "UPDATE directory.feed_head SET seq = $1, floor = $1"


def key_of(number: int) -> LookupKey:
    return LookupKey(hashlib.md5(f"k{number}".encode(), usedforsecurity=False).hexdigest())


def port_free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@asynccontextmanager
async def running_postgres(folder: Path) -> AsyncIterator[postgres.PostgresServer]:
    account = unprivileged()
    server = postgres.PostgresServer(
        bin=postgres.bin_folder(folder, account),
        data=data_folder(folder, account) / f"pg-{secrets.token_hex(4)}" / "data",
        port=port_free(),
        password=Secret(secrets.token_urlsafe(16)),
        account=account,
    )
    postgres.prepare(server)
    with (server.data / "domicile.conf").open("a") as conf:
        conf.write("shared_buffers = '2GB'\nmaintenance_work_mem = '1GB'\nmax_wal_size = '8GB'\n")
    child = subprocess.Popen(  # type: ignore[call-overload]  # noqa: ASYNC220
        server.command(), cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **server.popen_identity()
    )
    try:
        await postgres.wait_until_it_answers(server)
        yield server
    finally:
        child.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(60)
        child.kill()
        child.wait()
        shutil.rmtree(outside(folder), ignore_errors=True)


async def fill(dsn: Secret[str], subjects: int) -> None:
    """The directory's tables with so many subjects in them."""
    await migrate(dsn, migrations_in(MIGRATIONS), track=TRACK)
    async with connect(dsn) as connection:
        for setting in ("session_replication_role = replica", "work_mem = '1GB'", "synchronous_commit = off"):
            await connection.execute(f"SET {setting}")
        await connection.execute("DROP INDEX directory.lookup_key_alone_by_subject")
        await connection.execute(_FACTS)
        for statement, limit_s in ((_SUBJECTS, 1500), (_KEYS, 1500)):
            await connection.execute(statement, subjects, timeout=limit_s)
        await connection.execute(_BY_SUBJECT, timeout=900)
        await connection.execute(_HEAD, subjects)
        await connection.execute("SELECT setval('directory.epoch_seq', $1)", subjects)
        await connection.execute("VACUUM (ANALYZE) directory.subject", timeout=900)
        await connection.execute("VACUUM (ANALYZE) directory.lookup_key", timeout=900)
        await connection.execute("CHECKPOINT", timeout=900)


async def sizes(dsn: Secret[str]) -> None:
    async with connect(dsn) as connection:
        for table in SIZES:
            heap = await connection.fetchval("SELECT pg_relation_size($1::text::regclass)", table)
            indexes = await connection.fetchval("SELECT pg_indexes_size($1::text::regclass)", table)
            print(f"{table}: rows {heap / 1e6:.0f} MB, indexes {indexes / 1e6:.0f} MB", flush=True)


@contextmanager
def running_directory(folder: Path, dsn: Secret[str]) -> Iterator[tuple[str, Path]]:
    """The directory as a process; its URL and the file with a resolver's token."""
    key, port = ec.generate_private_key(ec.SECP256R1()), port_free()
    public = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).to_jwk(key.public_key())
    jwks = folder / "jwks.json"
    jwks.write_text(f'{{"keys": [{public[:-1]}, "kid": "b1", "alg": "ES256", "use": "sig"}}]}}')
    now = int(SystemClock().unix_s())
    claims = {"iss": ISSUER, "aud": "domicile", "sub": "gateway:bench", "roles": ["resolver"], "iat": now}
    token = folder / "resolver.jwt"
    token.touch(mode=0o600)
    token.write_text(jwt.encode(claims | {"exp": now + 600}, key, algorithm="ES256", headers={"kid": "b1"}))
    settings = folder / "directory.toml"
    settings.write_text(
        f'host = "127.0.0.1"\nport = {port}\ndsn_env = "BENCH_DSN"\n'
        f'service_issuers = [{{ issuer = "{ISSUER}", audience = "domicile", jwks = "{jwks}" }}]\n'
    )
    command = [sys.executable, "-P", "-m", "directory", "--settings", str(settings)]
    with (folder / "directory.log").open("wb") as log:
        child = subprocess.Popen(command, env={**os.environ, "BENCH_DSN": dsn.reveal()}, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_ready(url)
            yield url, token
        finally:
            child.terminate()
            child.wait(20)


def _wait_ready(url: str) -> None:
    for _ in range(200):
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz", trust_env=False, timeout=2).status_code == 200:
                return
        time.sleep(0.1)
    raise SystemExit("the directory did not become ready")


async def misses(url: str, token: Path, subjects: int, count: int, askers: int, *, bare: bool = True) -> list[float]:
    """Milliseconds of each resolve of one key drawn at random, by so many askers that ask one after the other: by a bare HTTP client, or
    by the one that gateways have."""
    chance, taken, bearer = random.Random(askers), list[float](), TokenFile(token).token().reveal()
    async with http_client(url, token=TokenFile(token)) as http, asyncio.TaskGroup() as group:
        for _ in range(askers):
            asking = (
                _bare(await connected(url), bearer) if bare else _as_gateways_do(HttpDirectory(http, resolve_s_max=5.0))
            )
            group.create_task(_ask(asking, chance, taken, subjects, count // askers))
    return sorted(taken)


Asking = Callable[[LookupKey], Awaitable[bool]]
"""One resolve; whether the key was found."""


async def _ask(asking: Asking, chance: random.Random, taken: list[float], subjects: int, count: int) -> None:
    for _ in range(count):
        key = key_of(chance.randint(1, subjects))
        started = time.perf_counter()
        found = await asking(key)
        taken.append((time.perf_counter() - started) * 1000)
        if not found:
            raise SystemExit("the directory lost a key")


def _as_gateways_do(directory: HttpDirectory) -> Asking:
    async def ask(key: LookupKey) -> bool:
        return key in (await directory.resolve([key])).found

    return ask


def _bare(connection: Connection, bearer: str) -> Asking:
    async def ask(key: LookupKey) -> bool:
        body = f'{{"keys": ["{key}"]}}'
        head = f"POST /v1/resolve HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {bearer}\r\nContent-Length: {len(body)}\r\n"
        await connection.ask(f"{head}Content-Type: application/json\r\n\r\n{body}".encode())
        return key.encode() in connection.body

    return ask


async def boot(url: str, token: Path, subjects: int, started_unix_s: float) -> None:
    """In a process of its own: a gateway's client until it follows the feed and has answered, then many subjects."""
    clock = SystemClock()
    async with http_client(url, token=TokenFile(token)) as http:
        directory = HttpDirectory(http)
        follower = FeedFollower(directory, clock)
        client = DirectoryClient(directory, follower, clock, limits=ClientLimits(stale_s_max=60.0, resolve_s_max=60.0))
        following = asyncio.get_running_loop().create_task(follower.run())
        ready = asyncio.Event()
        follower.on_round.append(lambda: ready.set() if client.problem() is None else None)
        await ready.wait()
        ready_s = clock.unix_s() - started_unix_s
        first = await client.resolve(key_of(1))
        first_s = clock.unix_s() - started_unix_s
        known = 0
        many = min(BOOT_KEYS, subjects)
        for start in range(1, many + 1, 4000):
            asked = (client.resolve(key_of(number)) for number in range(start, min(start + 4000, many + 1)))
            known += sum(isinstance(one, Known) for one in await asyncio.gather(*asked))
        learnt_s = clock.unix_s() - started_unix_s - first_s
        print(
            f"boot of a client process: ready after {ready_s:.2f} s, first answer ({type(first).__name__}) after"
            f" {first_s:.2f} s; {known:,} subjects learnt in {learnt_s:.1f} s ({known / learnt_s:,.0f}/s)",
            flush=True,
        )
        following.cancel()
        await client.aclose()


def booted(url: str, token: Path, subjects: int) -> None:
    command = [sys.executable, "-P", "-m", "load_tests.bench.scale", "--subjects", str(subjects)]
    more = ["--boot", url, str(token), str(SystemClock().unix_s())]
    subprocess.run([*command, *more], check=True, timeout=300)


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def measured(subjects: int, count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="scale-bench-") as name:
        folder = Path(name)
        async with running_postgres(folder) as server:
            async with connect(server.dsn()) as admin:
                await admin.execute("CREATE DATABASE scale")
            dsn = server.dsn("scale")
            started = time.perf_counter()
            await fill(dsn, subjects)
            print(f"{subjects:,} subjects filled in {time.perf_counter() - started:.0f} s", flush=True)
            await sizes(dsn)
            with running_directory(folder, dsn) as (url, token):
                await misses(url, token, subjects, max(200, count // 10), 4)
                print(
                    "| client | askers | misses | p50 ms | p99 ms | p99.9 ms | misses/s |\n"
                    "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
                )
                for bare, askers in (*((True, askers) for askers in ASKERS), (False, 1)):
                    began = time.perf_counter()
                    taken = await misses(url, token, subjects, count, askers, bare=bare)
                    rate = len(taken) / (time.perf_counter() - began)
                    figures = " | ".join(f"{_percentile(taken, share):.2f}" for share in (0.5, 0.99, 0.999))
                    client = "bare" if bare else "gateways'"
                    print(f"| {client} | {askers} | {len(taken):,} | {figures} | {rate:,.0f} |", flush=True)
                await asyncio.to_thread(booted, url, token, subjects)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=10_000_000)
    parser.add_argument("--misses", type=int, default=20_000)
    parser.add_argument("--boot", nargs=3, metavar=("URL", "TOKEN_FILE", "STARTED"), help=argparse.SUPPRESS)
    asked: Any = parser.parse_args()
    if asked.boot:
        url, token, started = asked.boot
        asyncio.run(boot(url, Path(token), asked.subjects, float(started)))
    else:
        asyncio.run(measured(asked.subjects, asked.misses))
    return 0


if __name__ == "__main__":
    sys.exit(main())
