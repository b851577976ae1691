"""`python -m load_tests.bench._door FOLDER`: an SQL door as a process, its record in a ledger below FOLDER; DSNs come on standard input.

All is the product's but the wall, which lets everything through: masks are the database's own cost. It says its port on standard output and
serves until it is ended.
"""

import asyncio
import gc
import sys
from pathlib import Path
from typing import Any, cast

import msgspec
import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cells.breakglass.certificates.authority import Asked, FileAuthority, digest_of, issued, key_digest
from cells.breakglass.certificates.check import stated
from cells.breakglass.door.assembly import door_of
from cells.breakglass.door.ports import Column, Session
from cells.breakglass.door.settings import DoorSettings, DoorTls
from cells.breakglass.issuing import Issuing
from cells.breakglass.keeper import Keeper
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.statements.assembly import recording
from cells.breakglass.statements.reading import DoorLog
from cells.breakglass.steps import AnyStep, Approved, Certified, Intended, Presence, Requested, Terms
from cells.breakglass.store import PostgresSteps
from cells.breakglass.tickets import FileTracker
from cells.breakglass.words import MINUTE_US, SECOND_US, EngineerId, GrantId, Purpose, engineer_of
from cells.shards.homes import Homes
from cells.shards.shard import Dsns, Shard
from deploy.local import access
from deploy.local.layout import Paths
from directory.locks.core import STATE_CHARS, LockPage
from foundation.clock import Clock, SystemClock
from foundation.ledger.draining import Writer, drain
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.words import Country, mint_subject_id
from load_tests.bench._ledger import SIGNER
from load_tests.bench.fence import CELL, S1

ALICE, BOB = engineer_of("alice"), engineer_of("bob")
GRANT = GrantId("ab" * 16)
SERIAL = "5" * 32
ROWS_MAX, BYTES_MAX = 1 << 40, 1 << 50

# purpose: when a backend started
STARTED = "SELECT extract(epoch FROM backend_start)::float8 FROM pg_catalog.pg_stat_activity WHERE pid = $1"


class Open:
    """A wall that lets everything through (`cells.breakglass.door.ports.Wall`)."""

    def __init__(self, dsns: Dsns) -> None:
        self._dsns = dsns

    async def credentials(self, shard: str, *, inside: bool) -> Secret[str]:  # noqa: ARG002 - the port's, as below
        return self._dsns.records

    async def admit(self, session: Session, pid: int) -> float:  # noqa: ARG002
        async with connect(self._dsns.records) as connection:
            return float(await connection.fetchval(STARTED, pid))

    async def leave(self, session_id: str) -> None:  # noqa: ARG002
        return

    def named(self, session: Session, columns: tuple[Column, ...]) -> tuple[Column, ...]:  # noqa: ARG002
        return columns


async def certify(keeper: Keeper, authority: FileAuthority, folder: Path) -> None:
    """A grant of an hour and the certificate under it, with its key beside."""
    key, here = ec.generate_private_key(ec.SECP256R1()), Country("DE")
    presence = Presence(home=here, observed=here, declared=here, inside=True, home_inside=True)
    terms = Terms(
        subjects=(mint_subject_id(),),
        purpose=Purpose.DEBUGGING,
        ticket=access.DEMO_TICKET,
        minutes=60,
        reason="a bench",
    )

    async def act(by: EngineerId, step: AnyStep) -> None:
        await keeper.act(by, lambda _book, _at_us: (step,))

    await act(ALICE, Requested(grant=GRANT, terms=terms, presence=presence, needed=1))
    await act(BOB, Approved(grant=GRANT, version=1, presence=presence))
    from_us = keeper.now_us() // SECOND_US * SECOND_US
    intended = Intended(
        grant=GRANT,
        serial=SERIAL,
        key=key_digest(key.public_key()),
        shard=S1,
        presence=presence,
        from_us=from_us,
        until_us=from_us + 59 * MINUTE_US,
    )
    await act(ALICE, intended)
    book, _ = await keeper.book()
    found = book.intended(SERIAL)
    if found is None:
        raise RuntimeError("the certificate's intent was not kept")
    states = stated(found[0], msgspec.structs.replace(found[1], index=0, size=1, root="cd" * 32))
    if states is None:
        raise RuntimeError("the certificate states nothing")
    asked = Asked(SERIAL, ALICE, key.public_key(), intended.from_us, intended.until_us)
    certificate = issued(authority, asked, states)
    digest = digest_of(certificate)
    await act(ALICE, Certified(grant=GRANT, serial=SERIAL, digest=digest, index=0, size=1, root="cd" * 32))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "alice.key").write_bytes(pem)
    (folder / "alice.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


async def hearing(elsewhere: Elsewhere, clock: Clock) -> None:
    """For ever: that nobody is locked in another cell, as a directory says it once a second."""
    while True:
        elsewhere.hear(LockPage(state="0" * STATE_CHARS, cells=()), clock.monotonic_s())
        await asyncio.sleep(1)


async def serve(folder: Path, dsns: Dsns) -> None:
    clock, paths, writer = SystemClock(), Paths(folder), Writer()
    paths.secrets.mkdir(mode=0o700)
    access.ensure(paths, (CELL,), int(clock.unix_s() * SECOND_US))
    under = access.authority_certificate(paths, CELL)
    authority = FileAuthority(access.authority_key(paths, CELL), under)
    homes = Homes(started_unix_s=clock.unix_s())
    shard = Shard(cell=CELL, shard=S1, dsns=dsns, contracts={}, homes=homes, clock=clock)
    gc.freeze()  # as a cell does (`cells.__main__`)
    async with shard.opened(), asyncio.TaskGroup() as group:
        keeper = Keeper(PostgresSteps(lambda: shard), clock)
        await certify(keeper, authority, folder)
        elsewhere = Elsewhere(cell=CELL, issuer="https://staff.example.com", clock=clock, book=keeper.glance)
        group.create_task(hearing(elsewhere, clock))
        tracker, before = FileTracker(access.tickets(paths)), DoorLog(folder / "log", SIGNER.verifier)
        recorded = recording(keeper, tracker, clock, writer, before, elsewhere)
        nobody = cast("Any", None)  # who asks over HTTP
        issuing = Issuing(
            desk=nobody,
            keeper=keeper,
            authority=authority,
            ledger=nobody,
            log_key=SIGNER.verifier,
            elsewhere=elsewhere,
        )
        files = DoorTls(certificate=access.door_certificate(paths, CELL), key=access.door_key(paths, CELL))
        settings = DoorSettings(host="127.0.0.1", port=0, tls=files, rows_max=ROWS_MAX, bytes_max=BYTES_MAX)
        door = door_of(settings, under, issuing, Open(dsns), recorded.recorder, clock)
        group.create_task(drain(folder / "log", SIGNER, dict, None, writer))
        group.create_task(door.run())
        for worker in recorded.workers.values():
            group.create_task(worker())
        await door.listens.wait()
        print(door.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    given = [Secret(line.strip()) for line in (sys.stdin.readline() for _ in range(3))]
    uvloop.run(serve(Path(sys.argv[1]), Dsns(*given)))
