"""What a gateway needs for people away from home, put together; opens nothing."""

import ssl
from collections.abc import Callable

import msgspec

from foundation.clock import Clock
from foundation.settings import SettingsError, read_keyring
from foundation.tls import Tls, Watched, asking
from foundation.words import RegionId
from gateway.edge.upstream.pool import Pools
from gateway.settings import HopTls, Settings, Upstream
from gateway.travel.bookings import Bookings
from gateway.travel.carrier import Carrier
from gateway.travel.hops import Hops
from gateway.travel.routes import Routes


class Travel(msgspec.Struct, frozen=True):
    """`bookings` None: nothing that came by a hop is forwarded. `pools` want sweeping."""

    hops: Hops
    carrier: Carrier
    bookings: Bookings | None
    pools: tuple[Pools, ...]
    tls: Watched | None = None
    """What peers are shown; wants watching."""


def nowhere(here: RegionId, clock: Clock) -> Travel:
    """A region that shares a key with no other: nobody is carried, no hop is taken."""
    limits = Upstream()
    hops, pools = Hops(here, {}, clock), Pools(limits)
    carrier = Carrier(hops, Routes({}), plain=pools, secure=pools, limits=limits)
    return Travel(hops, carrier, None, ())


def travel(settings: Settings, bookings: Bookings, clock: Clock) -> Travel:
    """Raises SettingsError."""
    if settings.region in settings.hop_keyrings:
        raise SettingsError(f"hop_keyrings: {settings.region} is this region itself")
    hops = Hops(settings.region, {peer: read_keyring(path) for peer, path in settings.hop_keyrings.items()}, clock)
    limits = settings.hop_upstream
    shown = None if settings.hop_tls is None else hop_context(settings.hop_tls, clock)
    plain, secure = Pools(limits), Pools(limits, tls=contexts(shown))
    carrier = Carrier(hops, Routes(settings.hop_routes), plain=plain, secure=secure, limits=limits)
    return Travel(hops, carrier, bookings, (plain, secure), shown)


def hop_context(settings: HopTls, clock: Clock) -> Watched:
    """How peers are believed, and what this region shows them. Raises SettingsError."""
    files = Tls(certificate=settings.certificate, key=settings.key, authorities=settings.authorities)
    return Watched("hop_tls", files, asking, clock)


def contexts(shown: Watched | None) -> Callable[[], ssl.SSLContext]:
    """What a new connection to a peer speaks by; without settings nothing is shown, and the system's authorities are believed."""
    if shown is not None:
        return shown.newest
    context = ssl.create_default_context()
    return lambda: context
