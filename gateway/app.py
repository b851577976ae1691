"""The gateway of one region, put together: clients, workers, the edge; `opened` owns every resource."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
from starlette.routing import Route
from starlette.types import ASGIApp

from foundation.clock import Clock, SystemClock
from foundation.problems import Problem
from foundation.server import Drain
from foundation.settings import read_keyring
from foundation.tasks import Worker
from foundation.words import RECORDS, CellId
from gateway.edge.assembly import lane
from gateway.edge.desk import Desk
from gateway.edge.events import Recorder
from gateway.edge.limits.assembly import limited
from gateway.edge.upstream.pool import Pools
from gateway.hints.assembly import hints
from gateway.identity.address import Network, networks
from gateway.identity.country import CountryDatabase
from gateway.known import Clients, Known, clients_of, known_of
from gateway.settings import Settings
from gateway.skew import Skew
from gateway.travel.assembly import Travel, travel
from gateway.travel.bookings import Bookings


class Gateway(msgspec.Struct, frozen=True):
    """What the process serves, and the workers that keep it true."""

    app: ASGIApp
    workers: dict[str, Worker]
    ready: Callable[[], Problem | None]
    """None while it would take traffic."""


@asynccontextmanager
async def opened(settings: Settings, *, drain: Drain, clock: Clock | None = None) -> AsyncIterator[Gateway]:
    """A gateway whose workers are yet to be run. Raises SettingsError."""
    clock = clock or SystemClock()
    proxies = networks(settings.trusted_proxies)
    async with AsyncExitStack() as stack:
        countries = stack.enter_context(CountryDatabase(settings.country_database))
        clients = await clients_of(settings, stack)
        known = known_of(settings, clients, clock)
        stack.push_async_callback(known.client.aclose)
        desk = known.desk
        kept, skew, pools = settings.records, Skew(clock), Pools(settings.upstream)
        recorder = Recorder(lambda: _cell_services(desk), pending_max=kept.pending_max, when_full=kept.when_full)
        away = travel(settings, Bookings(clients.cells, lambda cell: _cell_service(desk, cell), clock), clock)
        limits = await stack.enter_async_context(
            limited(
                settings.limits,
                valkey=clients.valkey,
                key=read_keyring(settings.cache_mac_keyring)[0][1],
                proxies=proxies,
                clock=clock,
            )
        )
        routes, population = await _hinting(settings, clients, known, proxies, clock, stack)

        def ready() -> Problem | None:
            return (
                drain.problem()
                or known.keeper.problem()
                or known.feed_problem()
                or known.client.problem()
                or skew.problem()
                or recorder.problem()
            )

        app = lane(
            desk=desk,
            pools=pools,
            limits=settings.upstream,
            recorder=recorder,
            own=kept.own,
            countries=countries,
            proxies=proxies,
            clock=clock,
            ready=ready,
            travel=away,
            gate=limits.gate,
            websockets=settings.websockets,
            more=routes,
        )
        yield Gateway(
            app=app,
            ready=app.ready,
            workers={
                **limits.workers,
                **population,
                **known.workers,
                **_hop_workers(away),
                "records": lambda: recorder.deliver(clients.cells),
                "skew": lambda: skew.watch(clients.directory),
                "upstream": pools.sweep,
                "lasting": lambda: desk.lasting.watch(known.stale),
                "heads": app.departures.forgetting,
            },
        )


async def _hinting(
    settings: Settings,
    clients: Clients,
    known: Known,
    proxies: tuple[Network, ...],
    clock: Clock,
    stack: AsyncExitStack,
) -> tuple[list[Route], dict[str, Worker]]:
    """Sign-in hints, where the settings ask for them: their paths, and the worker that they need."""
    if settings.hints is None:
        return [], {}
    hinting, population = await stack.enter_async_context(
        hints(
            settings.hints,
            valkey=clients.valkey,
            directory=known.directory,
            desk=known.desk,
            homes=known.homes,
            blinder=lambda: known.blinding.blinder,
            proxies=proxies,
            clock=clock,
        )
    )
    return hinting.routes(), {"population": population.follow}


def _hop_workers(away: Travel) -> dict[str, Worker]:
    workers: dict[str, Worker] = {f"hops {number}": each.sweep for number, each in enumerate(away.pools)}
    if away.tls is not None:
        workers["hop tls files"] = away.tls.watch
    return workers


def _cell_services(desk: Desk) -> list[str]:
    """Addresses of this region's cell services: where policy says that `records` runs."""
    if desk.book is None:
        return []
    cells = desk.book.policy.cells
    here = sorted(cell for cell, stated in cells.items() if stated.region == desk.region)
    return [address for cell in here for address in _cell_service(desk, cell)]


def _cell_service(desk: Desk, cell: CellId) -> tuple[str, ...]:
    """Addresses of one cell's service."""
    if desk.book is None:
        return ()
    records = desk.book.policy.services.get(RECORDS)
    return () if records is None else records.hosts.get(cell, ())
