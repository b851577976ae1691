"""PgBouncer in front of the same Postgres as the door: session pooling, TLS 1.3, the door's certificate and the same engineer's.

It logs no statement. Where it is not installed it is left out.
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psutil

from cells.shards.shard import Dsns
from deploy.local import access
from deploy.local.layout import Paths
from load_tests.bench.fence import CELL
from load_tests.bench.peers.starting import NotStarted, listening, port_free

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
NOBODY = "nobody"
_CONFIG = """
[databases]
s1 = host={host} port={port} dbname={database} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = any
pool_mode = session
client_tls_sslmode = verify-ca
client_tls_protocols = tlsv1.3
client_tls_ca_file = {folder}/authority.pem
client_tls_cert_file = {folder}/door.pem
client_tls_key_file = {folder}/door.key
logfile = {folder}/log
log_connections = 0
log_disconnections = 0
"""


@asynccontextmanager
async def pgbouncer(state: Path, dsns: Dsns) -> AsyncIterator[tuple[int, psutil.Process]]:
    """`state`: the folder of a door that runs. Its port and process. Raises NotStarted."""
    if PROGRAM is None:
        raise NotStarted("no pgbouncer on PATH")
    with tempfile.TemporaryDirectory() as made:
        folder, port = Path(made), port_free()
        _write(folder, state, dsns, port)
        as_nobody = ["-u", NOBODY] if os.geteuid() == 0 else []
        child = subprocess.Popen([PROGRAM, "-q", *as_nobody, str(folder / "ini")])  # noqa: ASYNC220
        try:
            if not await asyncio.to_thread(listening, port, child):
                raise NotStarted("pgbouncer does not listen")
            yield port, psutil.Process(child.pid)
        finally:
            child.terminate()
            child.wait(20)


def _write(folder: Path, state: Path, dsns: Dsns, port: int) -> None:
    """What it reads, as its account can."""
    paths, parts = Paths(state), urlsplit(dsns.records.reveal())
    files = {
        "authority.pem": access.authority_certificate(paths, CELL),
        "door.pem": access.door_certificate(paths, CELL),
        "door.key": access.door_key(paths, CELL),
    }
    for name, path in files.items():
        (folder / name).write_bytes(path.read_bytes())
    config = _CONFIG.format(
        host=parts.hostname,
        port=parts.port,
        database=parts.path.lstrip("/"),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        own=port,
        folder=folder,
    )
    (folder / "ini").write_text(config)
    if os.geteuid() == 0:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, NOBODY)
            path.chmod(0o700 if path.is_dir() else 0o600)
