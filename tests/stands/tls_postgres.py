"""A Postgres that speaks TLS alone, and somebody in between. The wheel's has no TLS, so it is the system's, where one is installed."""

import asyncio
import contextlib
import os
import secrets
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from deploy.local import postgres
from deploy.local.account import Account, data_folder, owned_folder
from deploy.local.layout import SUPERUSER
from deploy.local.postgres import PostgresServer
from foundation.mute import Secret
from tests.stands.certificates import SINCE, UNTIL
from tests.stands.servers import free_port, running
from tests.stands.waiting import wait_for

_HOMES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
needs_tls_postgres = pytest.mark.skipif(
    not _HOMES, reason="no Postgres with TLS on this system (Debian and Ubuntu: apt-get install postgresql)"
)
_CONF = """
listen_addresses = 'localhost'
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
fsync = off
ssl = on
ssl_cert_file = 'shard.pem'
ssl_key_file = 'shard.key'
"""
_HBA = "hostssl all all 127.0.0.1/32 scram-sha-256\nhostssl all all ::1/128 scram-sha-256\n"


@contextmanager
def tls_postgres(folder: Path, account: Account | None, shown: tuple[Path, Path]) -> Iterator[PostgresServer]:
    """`shown`: its certificate and key."""
    data = data_folder(folder, account) / f"pg-tls-{secrets.token_hex(4)}" / "data"
    server = PostgresServer(
        bin=_HOMES[-1].parent, data=data, port=free_port(), password=Secret(secrets.token_urlsafe(16)), account=account
    )
    owned_folder(data.parent, account)
    word = data.parent / "password"
    _give(server, word, server.password.reveal().encode())
    subprocess.run(
        [str(server.bin / "initdb"), "-D", str(data), "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync",
         "--auth=scram-sha-256", f"--pwfile={word}"],
        check=True, capture_output=True, timeout=120, cwd="/", **server.popen_identity(),
    )  # type: ignore[call-overload]  # fmt: skip
    with (data / "postgresql.conf").open("a") as conf:
        conf.write(_CONF)
    _give(server, data / "pg_hba.conf", _HBA.encode())
    for path, name in zip(shown, ("shard.pem", "shard.key"), strict=True):
        _give(server, data / name, path.read_bytes())
    with running(server.command(), cwd="/", **server.popen_identity()):
        wait_for(lambda: postgres.answers(server))
        yield server


def _give(server: PostgresServer, path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
    if server.account is not None:
        os.chown(path, server.account.uid, server.account.gid)


def without_hash(folder: Path) -> tuple[Path, Path]:
    """A certificate whose signature has no algorithm of hashing, by which RFC 5929 could bind to it; and its key."""
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, SINCE, UNTIL).sign(key, None)
    files = folder / "ed25519.pem", folder / "ed25519.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@asynccontextmanager
async def in_between(server: PostgresServer, files: tuple[Path, Path]) -> AsyncIterator[int]:
    """Somebody who shows a certificate of their own, and goes on to the server inside TLS, byte for byte. Their port."""
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(*files)
    believing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    believing.check_hostname, believing.verify_mode = False, ssl.CERT_NONE

    async def carry(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, forth = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            forth.write(await near.readexactly(8))
            answer = await far.readexactly(1)
            await forth.start_tls(believing)
            back.write(answer)
            await back.start_tls(shown)  # at once: what comes from here on is TLS
            async with asyncio.TaskGroup() as group:
                group.create_task(_on(near, forth))
                group.create_task(_on(far, back))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for writer in (forth, back):
                writer.transport.abort()

    listening = await asyncio.start_server(carry, "127.0.0.1", 0)
    try:
        yield int(listening.sockets[0].getsockname()[1])
    finally:
        listening.close()


async def _on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(65_536):
        sink.write(piece)
        await sink.drain()
    with contextlib.suppress(OSError):
        sink.close()
