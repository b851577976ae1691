"""The directory service put together: database, listener, workers, application."""

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncpg
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from directory import openapi
from directory.aliases import operations as alias_operations
from directory.aliases.claims import Claims
from directory.aliases.worker import keep_claims, keep_population
from directory.bulk import api as bulk_api
from directory.database import DatabaseUnavailable, translated
from directory.feed import api as feed_api
from directory.feed.commits import Commits
from directory.feed.pruning import Keep, prune_for_ever
from directory.feed.worker import listen
from directory.ledger import api as ledger_api
from directory.ledger.worker import NAME, DirectoryOutbox, export_for_ever, recording
from directory.locks import api as locks_api
from directory.locks.bell import LockBell
from directory.operations import Operation, routes
from directory.placement import operations as placement_operations
from directory.placement.changes import Changes
from directory.placement.core import RESERVATION_S
from directory.placement.worker import EXPIRY_CHECK_S, keep
from directory.registry import api as registry_api
from directory.registry.live import LiveRegistry
from directory.rules import api as rules_api
from directory.rules.live import LiveRules
from directory.services import Services
from foundation import logs
from foundation.clock import Clock, SystemClock
from foundation.http import ServiceAuth, application, client, json_response, token_verifier
from foundation.ledger.keeping import keeping
from foundation.ledger.settings import LedgerSettings
from foundation.ledger.sign_ins import SignIns
from foundation.mute import Secret
from foundation.postgres import migrate, migrations_in, pool
from foundation.problems import Problem
from foundation.server import Drain
from foundation.settings import SettingsError
from foundation.tasks import Backoff, Worker
from foundation.tokens import Issuer

log = logs.get(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
TRACK = "directory"


@dataclass(frozen=True, kw_only=True)
class Directory:
    """What a process serves: the application, and the workers that keep it true (run them beside it, as `foundation.server` does)."""

    app: ASGIApp
    workers: dict[str, Worker]
    services: Services


@asynccontextmanager
async def opened(
    dsn: Secret[str],
    issuers: Sequence[Issuer],
    *,
    clock: Clock | None = None,
    drain: Drain | None = None,
    pool_size_max: int = 10,
    start_s_max: float = 60.0,
    reservation_s: float = RESERVATION_S,
    expiry_check_s: float = EXPIRY_CHECK_S,
    feed_keep: Keep | None = None,
    ledger: LedgerSettings | None = None,
) -> AsyncIterator[Directory]:
    """Migrates the database and opens everything on it. Raises SettingsError when the database does not answer within `start_s_max`."""
    used, leaving = clock or SystemClock(), drain or Drain()
    if ledger is not None:  # what is wrong with the settings is said before a database is waited for
        ledger.signer()
        ledger.plan()
    await migrated(dsn, start_s_max=start_s_max, clock=used)
    async with pool(dsn, size_max=pool_size_max, clean=True) as connections, client() as http:
        rules = LiveRules(connections)
        record = recording(connections)
        kept = None if ledger is None else keeping(ledger, record, used, http)
        services = Services(
            pool=connections,
            clock=used,
            commits=Commits(),
            locks=LockBell(),
            changes=Changes(connections, used, reservation_s=reservation_s),
            claims=Claims(connections, used),
            rules=rules,
            registry=LiveRegistry(connections),
            drain=leaving,
            ledger=kept,
        )
        sign_ins = SignIns(record, used, service=NAME)
        auth = ServiceAuth(token_verifier(issuers, http, used), used, verified=sign_ins)
        workers: dict[str, Worker] = {
            "feed-listener": lambda: listen(dsn, services.commits, services.locks),
            "reservation-expiry": lambda: keep(services, check_s=expiry_check_s),
            "claim-expiry": lambda: keep_claims(services, check_s=expiry_check_s),
            "population": lambda: keep_population(services),
            "feed-pruning": lambda: prune_for_ever(connections, feed_keep or Keep()),
        }
        if kept is not None:
            outbox = {NAME: DirectoryOutbox(connections)}
            workers |= kept.workers(lambda: outbox)
            workers["ledger exports"] = partial(export_for_ever, kept, rules)
        try:
            yield Directory(app=_application(services, auth), workers=workers, services=services)
        finally:
            await rules.aclose()


async def migrated(dsn: Secret[str], *, start_s_max: float, clock: Clock) -> None:
    """Runs the migrations, waiting for a database that is still starting. Raises SettingsError, MigrationError."""
    deadline = clock.monotonic_s() + start_s_max
    backoff = Backoff(first_s=0.05, max_s=1.0)
    while True:
        try:
            async with translated():
                await migrate(dsn, migrations_in(MIGRATIONS), track=TRACK)
            return
        except DatabaseUnavailable as exc:
            if clock.monotonic_s() >= deadline:
                raise SettingsError(
                    f"the directory's database did not answer within {start_s_max:.0f} s ({exc}); is it running?"
                ) from exc
            await asyncio.sleep(backoff.next_s())
        except asyncpg.InvalidAuthorizationSpecificationError as exc:
            raise SettingsError("the directory's database refuses this DSN's user or password") from exc
        except asyncpg.InvalidCatalogNameError as exc:
            raise SettingsError("the directory's database does not exist; create it first") from exc


RESOLVE = "resolve"
"""The call that the directory is asked for most."""


def operations(services: Services) -> list[Operation]:
    """Every call of the API."""
    return [
        *placement_operations.operations(services),
        *feed_api.operations(services),
        *rules_api.operations(services),
        *registry_api.operations(services),
        *bulk_api.operations(services),
        *alias_operations.operations(services),
        *locks_api.operations(services),
        *ledger_api.operations(lambda: services.ledger),
    ]


def _application(services: Services, auth: ServiceAuth) -> ASGIApp:
    declared = operations(services)
    described = openapi.document(declared, version=importlib.metadata.version("domicile"))

    async def openapi_document(request: Request) -> Response:
        return json_response(described)

    def ready() -> Problem | None:
        return services.drain.problem() or services.commits.problem()

    of_calls = routes(declared, auth)
    return application(
        [Route("/openapi.json", openapi_document), *of_calls],
        ready=ready,
        straight=[route for route in of_calls if route.name == RESOLVE],
    )
