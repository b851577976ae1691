"""A way for clients that have no TLS: a Unix socket of one's own, each connection to which goes on to a door inside TLS."""

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from foundation.settings import SettingsError

CONNECT_S_MAX = 10.0
PIECE_BYTES = 65_536
CONNECTIONS_MAX = 16
SOCKET = ".s.PGSQL.5432"
"""What libpq looks for in the folder that is named as its host."""
ALPN = "postgresql"
_CREDENTIALS = struct.Struct("3i")


class DoorAddress(msgspec.Struct, frozen=True):
    """`authorities`: PEM, whom the door proves itself under."""

    host: str
    port: int
    authorities: Path


def context(address: DoorAddress, certificate: Path, key: Path) -> ssl.SSLContext:
    """As `sslmode=verify-full`. Raises SettingsError."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.set_alpn_protocols([ALPN])
    try:
        made.load_verify_locations(address.authorities)
        made.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as exc:
        raise SettingsError(
            f"{address.authorities} holds no certificate of an authority, or the key is not one"
        ) from exc
    return made


@asynccontextmanager
async def relayed(folder: Path, address: DoorAddress, shown: ssl.SSLContext) -> AsyncIterator[None]:
    """Listens in `folder`, which must be this user's alone, until the block ends. Raises SettingsError where the door cannot be reached, or
    the folder takes no socket."""
    await _tried(address, shown)
    turns = asyncio.Semaphore(CONNECTIONS_MAX)

    async def carry(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        async with turns:
            if _own(back):
                await _carried(near, back, address, shown)
            back.close()

    mask = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(carry, folder / SOCKET)
    except OSError as exc:
        raise SettingsError(
            f"{folder} takes no socket ({exc}); let TMPDIR name another folder, by a short path"
        ) from exc
    finally:
        os.umask(mask)
    try:
        yield
    finally:
        server.close()


async def _tried(address: DoorAddress, shown: ssl.SSLContext) -> None:
    """Raises SettingsError."""
    try:
        _, writer = await _reached(address, shown)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, ssl.SSLError) as exc:
        raise SettingsError(f"the door at {address.host}:{address.port} cannot be reached ({exc})") from exc
    writer.close()


def _own(writer: asyncio.StreamWriter) -> bool:
    """Whether this user's process is on the other side, where the system can tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    given = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(given)[1] == os.getuid())


async def _reached(address: DoorAddress, shown: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(CONNECT_S_MAX):
        # TLS from the first byte on (ALPN `postgresql`): nothing that came in the clear can be taken for the door's.
        return await asyncio.open_connection(address.host, address.port, ssl=shown, server_hostname=address.host)


async def _carried(
    near: asyncio.StreamReader, back: asyncio.StreamWriter, address: DoorAddress, shown: ssl.SSLContext
) -> None:
    """Both ways, until one side ends."""
    try:
        far, forth = await _reached(address, shown)
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return
    try:
        async with asyncio.TaskGroup() as group:
            ways = [group.create_task(_one_way(near, forth)), group.create_task(_one_way(far, back))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
    finally:
        forth.close()


async def _one_way(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await source.read(PIECE_BYTES):
            sink.write(piece)
            await sink.drain()
