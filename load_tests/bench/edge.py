"""CPU time of a gateway process per proxied request: `python -m load_tests.bench.edge [--requests N] [--connections N]`.

Three processes on loopback: a load generator (this one), the gateway's edge on uvloop and uvicorn as in production (verified token
cached, placement in the process table, decision minted for each request), and a service that answers 360 bytes. What counts is user
and system time of the gateway process, from /proc; docs/benchmarks/edge.md keeps the figures.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import multiprocessing
import os
import secrets
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import jwt
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec

from directory.client.table import ABSENT, PlacementTable
from directory.placement.core import Facts, Placement, State
from foundation.blinding import Blinder, BlindingKey
from foundation.clock import SystemClock
from foundation.mute import Secret
from foundation.server import serve
from foundation.tokens import Jwks, TokenVerifier, fetch_jwks_file
from foundation.words import (
    CellId,
    Country,
    Epoch,
    FeedSeq,
    JurisdictionId,
    LookupKey,
    RegionId,
    ServiceId,
    ShardId,
    SubjectId,
    mint_subject_id,
)
from gateway.edge.assembly import lane
from gateway.edge.book import Book
from gateway.edge.desk import Desk
from gateway.edge.door import EdgeDoor
from gateway.edge.events import Recorder
from gateway.edge.lane import Lane
from gateway.edge.ports import Home, Homeless
from gateway.edge.upstream.pool import Pools
from gateway.identity.country import CountryDatabase
from gateway.identity.tokens import Identities
from gateway.settings import Upstream
from load_tests.bench._figures import Figure, row
from load_tests.bench._kept import conditions, keep, keeping
from load_tests.bench._policies import policy
from load_tests.bench.peers.cases import CASES
from load_tests.bench.peers.load import closed
from load_tests.bench.peers.upstream import Service
from routing_rules.rules import load

ISSUER, AUDIENCE = "https://issuer.example", "shop"
CLOCK = SystemClock()
BLINDER = Blinder((BlindingKey("b1", Secret(b"b" * 32)),))


# --- the service -------------------------------------------------------------------------------------------------------------


def service_process(pipe: Connection) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(main())


# --- the gateway -------------------------------------------------------------------------------------------------------------


class TableHomes:
    """The process table alone: every home is known here."""

    def __init__(self, entries_max: int = 100_000) -> None:
        self.table = PlacementTable(entries_max=entries_max)

    def learn(self, key: LookupKey, cell: str) -> None:
        self.table.learn_key(key, _placement(cell), as_of=FeedSeq(0), generation=0, now_s=CLOCK.monotonic_s())

    def lookup(self, key: LookupKey) -> Home | None:
        found = self.table.by_key(key, CLOCK.monotonic_s())
        return Homeless.NONE if found is ABSENT else found

    async def resolve(self, key: LookupKey) -> Home:  # noqa: ARG002 - the port's signature
        return Homeless.UNKNOWN

    async def refresh(self, key: LookupKey, *, newer_than: Epoch) -> Home:  # noqa: ARG002 - the port's signature
        return Homeless.UNKNOWN

    async def subject(self, subject_id: SubjectId) -> Home:  # noqa: ARG002 - the port's signature
        return Homeless.UNKNOWN

    def held(self, subject_id: SubjectId) -> Epoch | None:
        found = self.table.by_subject(subject_id, CLOCK.monotonic_s())
        return None if found is None or found is ABSENT else found.epoch

    async def refresh_subject(self, subject_id: SubjectId, *, newer_than: Epoch) -> Home:  # noqa: ARG002 - the port's signature
        return Homeless.UNKNOWN


def crowded(people: dict[str, str], others: int = 0) -> TableHomes:
    """Homes of `people`, scattered among as many of others."""
    homes = TableHomes(max(100_000, len(people) + others))
    for number, (sub, cell) in enumerate(people.items()):
        for _ in range(others * (number + 1) // len(people) - others * number // len(people)):
            homes.learn(LookupKey(secrets.token_urlsafe(24)), cell)
        homes.learn(BLINDER.login(ISSUER, sub)[0], cell)
    return homes


def gateway_process(port: int, service: int, jwks: str, subs: list[str]) -> None:
    """One cell, whose service listens on port `service`."""
    hosts = {"eu-de": f"127.0.0.1:{service}"}
    edge_process(port, policy({"orders": hosts, "records": hosts}), jwks, dict.fromkeys(subs, "eu-de"), Upstream())


def edge_process(port: int, rules: str, jwks: str, people: dict[str, str], limits: Upstream, others: int = 0) -> None:
    """A gateway's edge under a policy, `rules`; `people`: the cell of each sub. As many `others`, who never ask, are known as well."""

    async def main() -> None:
        pools = Pools(limits)
        with CountryDatabase() as countries:
            app = app_of(desk_of(rules, Path(jwks), people, others), pools, limits, countries)
            gc.freeze()  # as a gateway does (`gateway.__main__`)
            await serve(app, host="127.0.0.1", port=port, workers={"upstream": pools.sweep}, http=EdgeDoor)

    uvloop.run(main())


def desk_of(rules: str, jwks: Path, people: dict[str, str], others: int = 0) -> Desk:
    """That knows everybody's home."""
    verifier = TokenVerifier({ISSUER: (AUDIENCE, Jwks(fetch_jwks_file(jwks), CLOCK))}, CLOCK)
    desk = Desk(RegionId("eu"), Identities(verifier, BLINDER, CLOCK), crowded(people, others))
    desk.book = Book(load(rules), FeedSeq(1), region=RegionId("eu"), root=("r1", Secret(b"r" * 32)), clock=CLOCK)
    return desk


def app_of(desk: Desk, pools: Pools, limits: Upstream, countries: CountryDatabase) -> Lane:
    recorder = Recorder(list)
    return lane(
        desk=desk,
        pools=pools,
        limits=limits,
        recorder=recorder,
        countries=countries,
        proxies=(),
        clock=CLOCK,
        ready=recorder.problem,
    )


def _placement(cell: str) -> Placement:
    return Placement(
        subject_id=mint_subject_id(),
        cell=CellId(cell),
        shard=ShardId("s1"),
        epoch=Epoch(1),
        state=State.ACTIVE,
        services=(ServiceId("orders"),),
        facts=Facts(facts_id=1, regimes=(JurisdictionId("eu"),), residence=Country("DE")),
    )


# --- the load ----------------------------------------------------------------------------------------------------------------


def cpu_s(pid: int) -> tuple[float, float]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    tick = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / tick, int(fields[12]) / tick


def people(folder: Path, count: int) -> tuple[Path, list[str], list[str]]:
    """A JWKS file, subs and their tokens."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps({"keys": [public | {"kid": "p1", "alg": "ES256", "use": "sig"}]}))
    subs = [secrets.token_hex(8) for _ in range(count)]
    now = int(CLOCK.unix_s())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 3600}
    tokens = [jwt.encode(claims | {"sub": sub}, key, algorithm="ES256", headers={"kid": "p1"}) for sub in subs]
    return jwks, subs, tokens


@contextlib.contextmanager
def running(processes: list[multiprocessing.process.BaseProcess]) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            if process.pid is not None:
                process.terminate()
                process.join(10)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--requests", type=int, default=30_000)
    arguments.add_argument("--connections", type=int, default=32)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--hold", action="store_true", help="print the gateway's pid and go on until interrupted")
    keeping(arguments)
    given = arguments.parse_args()
    met = conditions(
        "edge", f"{given.rounds} rounds of {given.requests:,} GETs, {given.connections} connections", given.remark
    )
    print("\n".join(met.notes()), flush=True)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        jwks, subs, tokens = people(Path(folder), given.connections)
        service = context.Process(target=service_process, args=(theirs,), daemon=True)
        service.start()
        port = free_port()
        gateway = context.Process(target=gateway_process, args=(port, ours.recv(), str(jwks), subs), daemon=True)
        gateway.start()
        with running([service, gateway]):
            spent = uvloop.run(_rounds(given, port, tokens, gateway.pid or 0))
    figure = Figure(
        name="cpu",
        title="CPU time of the gateway a request",
        unit="µs",
        rows=(row("domicile", spent),),
        ours=("domicile",),
    )
    keep(given.out, met, [], [figure])  # one bar says no more than its figure


async def _rounds(given: argparse.Namespace, port: int, tokens: list[str], pid: int) -> list[float]:
    """CPU microseconds a request, by round."""
    requests = CASES[0].requests(tokens)
    await listening(port)
    await closed(port, requests, 2_000, given.connections, answer=CASES[0].answer)
    rounds = 10_000 if given.hold else given.rounds
    found = []
    print(f"gateway pid {pid}; {given.connections} connections, {given.requests} requests a round")
    for _ in range(rounds):
        user, system = cpu_s(pid)
        took = await closed(port, requests, given.requests, given.connections, answer=CASES[0].answer)
        user_after, system_after = cpu_s(pid)
        spent = (user_after - user + system_after - system) / given.requests * 1e6
        print(
            f"{spent:6.1f} µs CPU/request (user {(user_after - user) / given.requests * 1e6:.1f}); {given.requests / took:,.0f} requests/s"
        )
        found.append(spent)
    return found


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def listening(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    main()
