"""What one gateway knows of people's homes and of the rules: from whom it hears, and who keeps it true. Opens clients; runs nothing."""

from contextlib import AsyncExitStack

import msgspec

from directory.client.client import ClientLimits, DirectoryClient, SecondLevelSettings
from directory.client.remote import HttpDirectory
from directory.client.second_level.sealed import Seal
from directory.client.second_level.valkey import ValkeyStore, valkey_store
from directory.feed.client import FeedFollower
from directory.registry.client import HeldRegistry, RegistryFollower
from directory.rules.client import HeldRules, RulesFollower
from foundation import http
from foundation.blinding_keys import Blinding
from foundation.clock import Clock
from foundation.http import HttpClient
from foundation.mute import Secret
from foundation.problems import Code, Problem
from foundation.settings import SettingsError, read_keyring, secret_from_env
from foundation.tasks import Worker
from foundation.tokens import TokenFile
from gateway.edge.desk import Desk
from gateway.edge.homes import DirectoryHomes
from gateway.edge.keeper import Keeper
from gateway.identity.actors import Actors
from gateway.identity.tokens import Identities
from gateway.identity.twins import TwinKeys
from gateway.settings import Settings
from routing_rules.policy import STALE_S_MAX


class Clients(msgspec.Struct, frozen=True):
    """Of what a gateway asks."""

    directory: HttpClient
    issuers: HttpClient
    cells: HttpClient
    valkey: Secret[str]
    store: ValkeyStore


class Known(msgspec.Struct, frozen=True):
    """What a gateway knows of people's homes and of the rules, and who keeps it true."""

    directory: HttpDirectory
    follower: FeedFollower
    client: DirectoryClient
    homes: DirectoryHomes
    desk: Desk
    keeper: Keeper
    blinding: Blinding
    workers: dict[str, Worker]

    def feed_problem(self) -> Problem | None:
        if self.follower.age_s() <= self.keeper.stale_s_max:
            return None
        return Problem(code=Code.NOT_READY, detail="the directory's feed has not been heard in time", retry_after_s=1)

    def stale(self) -> bool:
        return bool(self.keeper.problem() or self.feed_problem())


async def clients_of(settings: Settings, stack: AsyncExitStack) -> Clients:
    token = TokenFile(settings.token_file)
    valkey = secret_from_env(settings.valkey_url_env)
    return Clients(
        directory=await stack.enter_async_context(http.client(settings.directory, token=token)),
        issuers=await stack.enter_async_context(http.client(total_s=2.0)),
        cells=await stack.enter_async_context(http.client(token=token)),
        valkey=valkey,
        store=await stack.enter_async_context(valkey_store(valkey)),
    )


def known_of(settings: Settings, clients: Clients, clock: Clock) -> Known:
    blinding = Blinding(settings.blinding_keyring)
    directory = HttpDirectory(clients.directory)
    follower = FeedFollower(directory, clock)
    client = DirectoryClient(
        directory,
        follower,
        clock,
        # Policy's own bound, which is tighter and may change, is held by DirectoryHomes.
        limits=ClientLimits(stale_s_max=STALE_S_MAX),
        second_level=SecondLevelSettings(store=clients.store, seal=_seal(settings)),
    )
    homes = DirectoryHomes(client, follower, lambda: keeper.stale_s_max)
    desk = _desk(settings, clients, homes, blinding, clock)
    rules = RulesFollower(directory, follower, HeldRules(), clock)
    registry = HeldRegistry()
    root = read_keyring(settings.region_root_keyring)[0]
    keeper = Keeper(rules, desk, region=settings.region, root=root, clock=clock, registry=registry)
    desk.trouble = keeper.problem
    twins = TwinKeys()
    desk.proven = twins.offer
    follower.listeners.append(desk.lasting.heard)
    follower.on_start.append(desk.lasting.begun_anew)
    follower.on_restored.append(desk.lasting.begun_anew)
    return Known(
        directory=directory,
        follower=follower,
        client=client,
        homes=homes,
        desk=desk,
        keeper=keeper,
        blinding=blinding,
        workers={
            "blinding keys": blinding.watch,
            "twin keys": lambda: twins.deliver(directory),
            "feed": follower.run,
            "second level": client.run,
            "rules": rules.run,
            "registry": RegistryFollower(directory, follower, registry).run,
        },
    )


def _desk(settings: Settings, clients: Clients, homes: DirectoryHomes, blinding: Blinding, clock: Clock) -> Desk:
    identities = Identities(http.token_verifier(settings.issuers, clients.issuers, clock), blinding.blinder, clock)
    desk = Desk(settings.region, identities, homes)
    blinding.on_change.append(desk.renew)
    if settings.service_issuers:
        desk.actors = Actors(http.token_verifier(settings.service_issuers, clients.issuers, clock), clock)
    return desk


def _seal(settings: Settings) -> Seal:
    try:
        return Seal(read_keyring(settings.cache_mac_keyring))
    except ValueError as exc:
        raise SettingsError(f"cache_mac_keyring {settings.cache_mac_keyring}: {exc}") from exc
