"""The gateway's settings file (docs/architecture.md): one frozen value, read once."""

from pathlib import Path

import msgspec

from foundation.tls import Tls
from foundation.tokens import Issuer
from foundation.words import RegionId
from gateway.edge.room import PENDING_MAX, WhenFull


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds towards the services of the region's cells; seconds, per address where it says so."""

    exchanges_max: int = 512
    """Exchanges under way at once with one cell's service, whatever its addresses; the next is refused. Not towards other regions."""
    connections_max: int = 128
    """Open connections per address."""
    waiters_max: int = 1024
    """Requests that wait for a connection, per address."""
    wait_s: float = 1.0
    connect_s: float = 1.0
    first_byte_s: float = 30.0
    """From the last byte sent to the head of the answer."""
    stall_s: float = 30.0
    """Longest silence on either side inside a request or answer."""
    total_s: float = 900.0
    body_bytes_max: int = 16 << 30
    """Of a request's body."""
    keep_alive_s: float = 20.0
    """How long an unused connection is kept; below the services' own."""
    breaker_failures: int = 5
    """Exchanges in a row that broke before an answer began, after which an address is not asked for a while."""
    breaker_open_s: float = 0.5
    """That while at first; it doubles with each probe that breaks, up to `breaker_open_s_max`, and is cut by chance, by half at most."""
    breaker_open_s_max: float = 5.0


class Websockets(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on websockets; seconds."""

    open_max: int = 1024
    """Open at once, or about to be, in this process."""
    idle_s: float = 300.0
    """Longest silence on both sides."""
    total_s: float = 3600.0
    """After which one is closed, so that whoever opens it again is decided anew."""


class HopTls(msgspec.Struct, frozen=True, kw_only=True):
    """How this region's gateways prove themselves to those of other regions, and which authorities they believe; PEM files."""

    certificate: Path
    key: Path
    authorities: Path


HOP_UPSTREAM = Upstream(connections_max=64, waiters_max=128, connect_s=2.0, first_byte_s=35.0, stall_s=35.0)
"""Towards another region: fewer, further away, and more patient than the home gateway is with its services, so that it is the one to say
which service is late."""


class HintSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Sign-in hints (`POST /.well-known/domicile/home`). `keyring`: what decoys are drawn by, the same at every gateway of every region.

    `answer_ms`: after which every answer goes out; well above what the directory takes from here. Limits are asks a minute.
    """

    keyring: Path
    answer_ms: int = 250
    per_address_minute: int = 30
    per_key_minute: int = 10


class RecordSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What this gateway keeps on record beside refusals and accesses by services, and what becomes of a record for which there is no
    room."""

    own: bool = False
    """A person's own requests, too."""
    when_full: WhenFull = WhenFull.REFUSE
    pending_max: int = PENDING_MAX
    """Records in memory that no cell service has yet."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """`per_s` requests a second, and `burst` at once: at least a second's, at all gateways of the region together."""

    per_s: int
    burst: int


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How often each subject, each client address (IPv6: each /64) and each acting service may ask. None: as often as it likes."""

    subject: Budget | None = None
    address: Budget | None = None
    actor: Budget | None = None
    parts: int = 4
    """A gateway process grants one of so many parts of a budget by itself, and leases the rest. Not fewer than there are processes."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Secrets are named here as files or environment variables, never held."""

    region: RegionId
    host: str
    port: int
    directory: str
    token_file: Path
    issuers: tuple[Issuer, ...]
    region_root_keyring: Path
    blinding_keyring: Path
    valkey_url_env: str
    cache_mac_keyring: Path
    tls: Tls | None = None
    """Of the gateway's own listener; without it a proxy on the same machine, or a mesh, is in front."""
    trusted_proxies: tuple[str, ...] = ()
    country_database: str = ""
    drain_s: float = 0.0
    upstream: Upstream = Upstream()
    websockets: Websockets = Websockets()
    service_issuers: tuple[Issuer, ...] = ()
    """Whose tokens may name a service of policy's `[actors]`; none: nobody acts for a subject here."""
    hop_keyrings: dict[RegionId, Path] = {}
    """By peer region: the keyring that the gateways of both hold. A region without one is none to carry to or from."""
    hop_routes: dict[RegionId, tuple[str, ...]] = {}
    """By peer region: origins (`https://10.0.0.7:7430`) at which its gateways are reached from here; else its origin in policy."""
    hop_tls: HopTls | None = None
    """For `https` routes; without it the system's authorities are believed and no certificate is shown."""
    limits: Limits = Limits()
    """Of the proxied path."""
    records: RecordSettings = RecordSettings()
    hints: HintSettings | None = None
    """Without it no sign-in hints are given here."""
    hop_upstream: Upstream = HOP_UPSTREAM
    """Bounds towards the gateways of other regions, per address: a pool of its own."""
