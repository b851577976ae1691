"""The gateway of one region, put together: clients, workers, the edge; `opened` owns every resource."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
from starlette.routing import Route
from starlette.types import ASGIApp

from directory.client.client import ClientLimits, DirectoryClient, SecondLevelSettings
from directory.client.remote import HttpDirectory
from directory.client.second_level.sealed import Seal
from directory.client.second_level.valkey import valkey_store
from directory.feed.client import FeedFollower
from directory.registry.client import HeldRegistry, RegistryFollower
from directory.rules.client import HeldRules, RulesFollower
from foundation import http
from foundation.blinding_keys import Blinding
from foundation.clock import Clock, SystemClock
from foundation.problems import Code, Problem
from foundation.server import Drain
from foundation.settings import SettingsError, read_keyring, secret_from_env
from foundation.tasks import Worker
from foundation.tokens import TokenFile
from foundation.words import RECORDS, CellId
from gateway.edge.assembly import lane
from gateway.edge.desk import Desk
from gateway.edge.events import Recorder
from gateway.edge.homes import DirectoryHomes
from gateway.edge.keeper import Keeper
from gateway.edge.limits.assembly import limited
from gateway.edge.upstream.pool import Pools
from gateway.hints.assembly import hints
from gateway.identity.actors import Actors
from gateway.identity.address import networks
from gateway.identity.country import CountryDatabase
from gateway.identity.tokens import Identities
from gateway.identity.twins import TwinKeys
from gateway.settings import Settings
from gateway.skew import Skew
from gateway.travel.assembly import travel
from gateway.travel.bookings import Bookings
from routing_rules.policy import STALE_S_MAX


class Gateway(msgspec.Struct, frozen=True):
    """What the process serves, and the workers that keep it true."""

    app: ASGIApp
    workers: dict[str, Worker]


@asynccontextmanager
async def opened(settings: Settings, *, drain: Drain, clock: Clock | None = None) -> AsyncIterator[Gateway]:
    """A gateway whose workers are yet to be run. Raises SettingsError."""
    clock = clock or SystemClock()
    blinding = Blinding(settings.blinding_keyring)
    proxies = networks(settings.trusted_proxies)
    root = read_keyring(settings.region_root_keyring)[0]
    token = TokenFile(settings.token_file)
    async with AsyncExitStack() as stack:
        countries = stack.enter_context(CountryDatabase(settings.country_database))
        to_directory = await stack.enter_async_context(http.client(settings.directory, token=token))
        to_issuers = await stack.enter_async_context(http.client(total_s=2.0))
        to_cells = await stack.enter_async_context(http.client(token=token))
        valkey = secret_from_env(settings.valkey_url_env)
        store = await stack.enter_async_context(valkey_store(valkey))

        directory = HttpDirectory(to_directory)
        follower = FeedFollower(directory, clock)
        client = DirectoryClient(
            directory,
            follower,
            clock,
            # Policy's own bound, which is tighter and may change, is held by DirectoryHomes.
            limits=ClientLimits(stale_s_max=STALE_S_MAX),
            second_level=SecondLevelSettings(store=store, seal=_seal(settings)),
        )
        stack.push_async_callback(client.aclose)
        homes = DirectoryHomes(client, follower, lambda: keeper.stale_s_max)
        identities = Identities(http.token_verifier(settings.issuers, to_issuers, clock), blinding.blinder, clock)
        blinding.on_change.append(identities.renew)
        desk = Desk(settings.region, identities, homes)
        twins = TwinKeys()
        desk.proven = twins.offer
        rules = RulesFollower(directory, follower, HeldRules(), clock)
        registry = HeldRegistry()
        keeper = Keeper(rules, desk, region=settings.region, root=root, clock=clock, registry=registry)
        registrar = RegistryFollower(directory, follower, registry)
        desk.trouble = keeper.problem
        follower.listeners.append(desk.lasting.heard)
        follower.on_start.append(desk.lasting.begun_anew)
        follower.on_restored.append(desk.lasting.begun_anew)
        if settings.service_issuers:
            desk.actors = Actors(http.token_verifier(settings.service_issuers, to_issuers, clock), clock)
        recorder = Recorder(lambda: _cell_services(desk))
        skew = Skew(clock)
        pools = Pools(settings.upstream)
        away = travel(settings, Bookings(to_cells, lambda cell: _cell_service(desk, cell), clock), clock)

        blinds = read_keyring(settings.cache_mac_keyring)[0][1]
        limits = await stack.enter_async_context(
            limited(settings.limits, valkey=valkey, key=blinds, proxies=proxies, clock=clock)
        )

        routes: list[Route] = []
        workers: dict[str, Worker] = {**limits.workers}
        if away.tls is not None:
            workers["hop tls files"] = away.tls.watch
        if settings.hints is not None:
            hinting, population = await stack.enter_async_context(
                hints(
                    settings.hints,
                    valkey=valkey,
                    directory=directory,
                    desk=desk,
                    homes=homes,
                    blinder=lambda: blinding.blinder,
                    proxies=proxies,
                    clock=clock,
                )
            )
            routes += hinting.routes()
            workers["population"] = population.follow

        def stale() -> bool:
            return bool(keeper.problem() or _feed_problem(follower, keeper))

        def ready() -> Problem | None:
            return (
                drain.problem()
                or keeper.problem()
                or _feed_problem(follower, keeper)
                or client.problem()
                or skew.problem()
                or recorder.problem()
            )

        app = lane(
            desk=desk,
            pools=pools,
            limits=settings.upstream,
            recorder=recorder,
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
            workers={
                **workers,
                "blinding keys": blinding.watch,
                "twin keys": lambda: twins.deliver(directory),
                "feed": follower.run,
                "second level": client.run,
                "rules": rules.run,
                "registry": registrar.run,
                "records": lambda: recorder.deliver(to_cells),
                "skew": lambda: skew.watch(to_directory),
                "upstream": pools.sweep,
                "lasting": lambda: desk.lasting.watch(stale),
                **{f"hops {number}": each.sweep for number, each in enumerate(away.pools)},
            },
        )


def _seal(settings: Settings) -> Seal:
    try:
        return Seal(read_keyring(settings.cache_mac_keyring))
    except ValueError as exc:
        raise SettingsError(f"cache_mac_keyring {settings.cache_mac_keyring}: {exc}") from exc


def _feed_problem(follower: FeedFollower, keeper: Keeper) -> Problem | None:
    if follower.age_s() <= keeper.stale_s_max:
        return None
    return Problem(code=Code.NOT_READY, detail="the directory's feed has not been heard in time", retry_after_s=1)


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
