"""The way to a shard's Postgres as a fixed role: TLS where its DSN says so, signed in by SCRAM; and the cancel of what runs there."""

import asyncio
import secrets
import socket
import ssl
import struct
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from cells.breakglass.door import frames, runs, startup
from cells.breakglass.door.frames import HEADER_BYTES, Error
from cells.breakglass.door.scram import Scram, ScramRefused, bound, end_point
from cells.breakglass.door.wire import Wire, WireClosed
from foundation import logs
from foundation.mute import Secret

log = logs.get(__name__)

MESSAGE_BYTES_MAX = 65_536
"""Of one message while a session begins."""
CANCEL_S_MAX = 2.0
_LONG = struct.Struct("!i")
_MODES = ("allow", "prefer", "require", "verify-ca", "verify-full")
SYSTEM = "system"
"""Names the system's authorities as `sslrootcert`."""


class UpstreamRefused(Exception):
    """The shard did not let the door in, or cannot be reached. `error` is for the client."""

    def __init__(self, error: Error) -> None:
        super().__init__(f"{error.code}: {error.message}")
        self.error = error


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a DSN leads. `mode`: libpq's `sslmode`, `prefer` where it is not stated. `host`: a path names a folder of Unix sockets."""

    host: str
    port: int
    user: str
    password: Secret[str]
    database: str
    mode: str
    authorities: str

    @classmethod
    def of(cls, dsn: Secret[str]) -> "Target":
        parts = urlsplit(dsn.reveal())
        asked = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        return cls(
            host=asked.get("host") or parts.hostname or "127.0.0.1",
            port=parts.port or 5432,
            user=unquote(parts.username or ""),
            password=Secret(unquote(parts.password or "")),
            database=unquote(parts.path.lstrip("/")),
            mode=asked.get("sslmode", "prefer"),
            authorities=asked.get("sslrootcert", ""),
        )

    @property
    def in_the_clear(self) -> bool:
        """Whether TLS is not even asked for."""
        return self.mode == "disable" or self.host.startswith("/")

    def tls(self) -> ssl.SSLContext:
        """As libpq has it: `verify-ca` and `verify-full` verify, and so does `require` where `sslrootcert` is stated; the name counts for
        `verify-full` alone. The system's authorities vouch for anybody, so with them the name has to count.

        Raises OSError, ssl.SSLError, UpstreamRefused."""
        if self.mode not in _MODES:
            raise UpstreamRefused(Error("08006", "the shard's DSN has an sslmode that nobody knows"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = self.mode == "verify-full"
        if self.authorities == SYSTEM or (not self.authorities and self.mode.startswith("verify")):
            if self.mode != "verify-full":
                raise UpstreamRefused(Error("08006", "the shard's DSN needs an sslrootcert of its own, or verify-full"))
            context.load_default_certs()
        elif self.authorities and self.mode not in ("allow", "prefer"):
            context.load_verify_locations(self.authorities)
        else:
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(kw_only=True)
class Upstream:
    """A session of the role, ready. `settings`: the ParameterStatus messages that it began with."""

    target: Target
    wire: Wire
    pid: int = 0
    key: bytes = b""
    settings: list[bytes] = field(default_factory=list)

    async def cancel(self) -> None:
        """Ends what runs there. Never raises: a shard that cannot be reached runs nothing for us."""
        try:
            async with asyncio.timeout(CANCEL_S_MAX):
                wire = await _connected(self.target)
                wire.send(startup.cancel_request(self.pid, self.key))
                await wire.gone.wait()
        except (OSError, TimeoutError, UpstreamRefused, WireClosed, ssl.SSLError):
            return


async def opened(dsn: Secret[str], settings: tuple[tuple[str, str], ...], name: str) -> Upstream:
    """A new session. `name`: of the application, as Postgres' log shows it. Raises UpstreamRefused; the caller bounds the time."""
    target = Target.of(dsn)
    try:
        wire = await _connected(target)
    except ssl.SSLCertVerificationError as exc:
        log.fault("door_shard_not_proved", exc, reason=exc.verify_message)
        raise UpstreamRefused(Error("08006", "the shard does not prove itself as its DSN asks for")) from exc
    except (OSError, WireClosed, ssl.SSLError) as exc:
        raise UpstreamRefused(Error("08006", "the shard cannot be reached just now")) from exc
    upstream = Upstream(target=target, wire=wire)
    own = (
        ("user", target.user),
        ("database", target.database),
        ("application_name", name),
        ("client_encoding", "UTF8"),
    )
    wire.send(frames.startup((*own, *settings)))
    try:
        await _signed_in(upstream)
        await _ready(upstream)
    except BaseException as exc:
        wire.transport.abort()
        if isinstance(exc, WireClosed | ScramRefused):
            raise UpstreamRefused(Error("08006", "the shard did not let the door in")) from exc
        raise
    return upstream


async def _connected(target: Target) -> Wire:
    """Raises OSError, WireClosed, UpstreamRefused, ssl.SSLError."""
    loop = asyncio.get_running_loop()
    wire = Wire()
    if not target.in_the_clear:
        await _inside(target, wire)
    elif target.host.startswith("/"):
        await loop.create_unix_connection(lambda: wire, f"{target.host}/.s.PGSQL.{target.port}")
    else:
        await loop.create_connection(lambda: wire, target.host, target.port)
    return wire


async def _inside(target: Target, wire: Wire) -> None:
    """TLS as the DSN asks for it. Raises OSError, UpstreamRefused, ssl.SSLError."""
    loop, context = asyncio.get_running_loop(), target.tls()
    found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    plain = socket.socket(family, kind, protocol)
    try:
        plain.setblocking(False)
        await loop.sock_connect(plain, address)
        await loop.sock_sendall(plain, startup.ssl_request())
        answer = await loop.sock_recv(plain, 1)
        if answer == b"S":
            await loop.create_connection(lambda: wire, sock=plain, ssl=context, server_hostname=target.host)
        elif answer == b"N" and target.mode in ("allow", "prefer"):
            await loop.create_connection(lambda: wire, sock=plain)
        else:
            raise UpstreamRefused(Error("08006", "the shard does not speak TLS, and its DSN asks for it"))
    except BaseException:
        plain.close()
        raise


async def _signed_in(upstream: Upstream) -> None:
    """Raises UpstreamRefused, WireClosed, ScramRefused."""
    wire = upstream.wire
    scram: Scram | None = None
    verified = False
    while True:
        kind, body = await _message(wire)
        if kind != b"R" or len(body) < _LONG.size:
            raise ScramRefused("no request to sign in")
        (asked,) = _LONG.unpack_from(body)
        match asked:
            case 0 if verified:
                return
            case 10 if scram is None:
                must = upstream.target.mode == "require" and _unverified(wire)
                binding = bound(body[4:].split(b"\0"), _end_point(wire), must=must)
                scram = Scram(upstream.target.password, secrets.token_urlsafe(24), binding=binding)
                first = scram.first()
                wire.send(frames.message(b"p", binding.mechanism + b"\0" + _LONG.pack(len(first)) + first))
            case 11 if scram is not None:
                wire.send(frames.message(b"p", scram.final(body[4:])))
            case 12 if scram is not None:
                scram.verify(body[4:])
                verified = True
            case _:
                raise ScramRefused("the shard asks for another way to sign in than SCRAM-SHA-256")


def _unverified(wire: Wire) -> bool:
    """Whether the shard showed a certificate that nobody looked at."""
    inside = wire.transport.get_extra_info("ssl_object")
    return inside is not None and inside.context.verify_mode is ssl.CERT_NONE


def _end_point(wire: Wire) -> bytes | None:
    """Of the certificate that the shard showed; None where it showed none. Raises ScramRefused for one that nobody verified and nothing can
    be bound to: whoever is in between chooses what they show."""
    inside = wire.transport.get_extra_info("ssl_object")
    shown = None if inside is None else inside.getpeercert(binary_form=True)
    found = end_point(shown) if shown else None
    if shown and found is None and _unverified(wire):
        raise ScramRefused("a certificate that nothing can be bound to")
    return found


async def _ready(upstream: Upstream) -> None:
    """Raises UpstreamRefused, WireClosed."""
    while True:
        kind, body = await _message(upstream.wire)
        match kind:
            case b"S":
                if body.startswith(b"client_encoding\0") and body != b"client_encoding\0UTF8\0":
                    raise UpstreamRefused(Error("22023", "the shard would read texts in another encoding than UTF8"))
                upstream.settings.append(frames.message(kind, body))
            case b"K":
                (upstream.pid,), upstream.key = _LONG.unpack_from(body), body[4:]
            case b"Z":
                return
            case _:
                pass


async def _message(wire: Wire) -> tuple[bytes, bytes]:
    """The next one of Postgres'. Raises UpstreamRefused for an error, WireClosed."""
    kind, size = frames.HEADER.unpack(await wire.exactly(HEADER_BYTES))
    if not 4 <= size <= MESSAGE_BYTES_MAX:
        raise WireClosed
    body = await wire.exactly(size - 4)
    if kind == b"E":
        said = runs.fields(body)
        raise UpstreamRefused(Error(said.get("C", "XX000"), said.get("M", "the shard refuses")))
    return kind, body
