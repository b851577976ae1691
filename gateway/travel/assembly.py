"""What a gateway needs for people away from home, put together; opens nothing."""

import msgspec

from foundation.clock import Clock
from foundation.settings import SettingsError, read_keyring
from foundation.words import RegionId
from gateway.edge.upstream.pool import Pools
from gateway.settings import Settings, Upstream
from gateway.travel.bookings import Bookings
from gateway.travel.carrier import Carrier
from gateway.travel.hops import Hops
from gateway.travel.routes import Routes, tls_context


class Travel(msgspec.Struct, frozen=True):
    """`bookings` None: nothing that came by a hop is forwarded. `pools` want sweeping."""

    hops: Hops
    carrier: Carrier
    bookings: Bookings | None
    pools: tuple[Pools, ...]


def nowhere(here: RegionId, clock: Clock) -> Travel:
    """A region that shares a key with no other: nobody is carried, no hop is taken."""
    hops, pools = Hops(here, {}, clock), Pools(Upstream())
    carrier = Carrier(hops, Routes({}), plain=pools, secure=pools, stall_s=Upstream().stall_s)
    return Travel(hops, carrier, None, ())


def travel(settings: Settings, bookings: Bookings, clock: Clock) -> Travel:
    """Raises SettingsError."""
    if settings.region in settings.hop_keyrings:
        raise SettingsError(f"hop_keyrings: {settings.region} is this region itself")
    hops = Hops(settings.region, {peer: read_keyring(path) for peer, path in settings.hop_keyrings.items()}, clock)
    limits = settings.hop_upstream
    plain, secure = Pools(limits), Pools(limits, tls=tls_context(settings.hop_tls))
    carrier = Carrier(hops, Routes(settings.hop_routes), plain=plain, secure=secure, stall_s=limits.stall_s)
    return Travel(hops, carrier, bookings, (plain, secure))
