"""How a proxy of the bench is started, found and ended, and what all of them are given."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import psutil
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from load_tests.bench.edge import AUDIENCE, ISSUER

READY_S_MAX = 30.0
LOOK_S = 0.05
ROOT = Path(__file__).parents[3]
PEERS_VENV = Path(sys.prefix).parent / ".venv-peers"
"""Beside the virtual environment that this runs in."""

CELL = "eu-de"


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What all share: the service's port, the people and the issuer's key."""

    folder: Path
    upstream: int
    jwks: Path
    subs: Sequence[str]
    public: ec.EllipticCurvePublicKey

    @property
    def pem(self) -> Path:
        path = self.folder / "issuer.pem"
        path.write_bytes(
            self.public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        return path

    @property
    def environment(self) -> dict[str, str]:
        """Of the parts of peers that are written in Python."""
        jwk = json.loads(self.jwks.read_text())["keys"][0]
        told = {"jwk": jwk, "issuer": ISSUER, "audience": AUDIENCE, "subs": list(self.subs)}
        paths = [str(ROOT), *(one for one in sys.path if one.endswith("site-packages"))]
        return os.environ | {
            "PEERS_GIVEN": json.dumps(told),
            "PEERS_UPSTREAM": f"http://127.0.0.1:{self.upstream}",
            "PYTHONPATH": ":".join(paths),
        }


class NotStarted(Exception):
    """A proxy ended, or never listened; the message holds its last words."""


class Running(msgspec.Struct, frozen=True):
    """A proxy that answers on `port`; `pids`: its processes, whose CPU time counts."""

    port: int
    pids: tuple[int, ...]


def program(name: str) -> str | None:
    return shutil.which(name, path=f"{PEERS_VENV / 'bin'}:{os.environ.get('PATH', '')}:/usr/sbin")


def port_free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def command(given: Given, name: str, words: Sequence[str], port: int) -> Iterator[int]:
    """A program until the end of the block, with its children; its pid once something listens on `port`. Raises NotStarted."""
    told = given.folder / f"{name}.log"
    with told.open("wb") as log:
        child = subprocess.Popen(words, stdout=log, stderr=log, env=given.environment, cwd=given.folder)
    try:
        if not listening(port, child):
            raise NotStarted(
                f"{Path(words[0]).name}: {(told.read_text().strip().splitlines() or ['it says nothing'])[-1]}"
            )
        yield child.pid
    finally:
        family = [*psutil.Process(child.pid).children(recursive=True)] if child.poll() is None else []
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(10)
        for one in family:
            with contextlib.suppress(psutil.Error):
                one.kill()


def listening(port: int, child: "subprocess.Popen[bytes] | None" = None) -> bool:
    """Whether something does, before READY_S_MAX is over or the child has ended."""
    for _ in range(int(READY_S_MAX / LOOK_S)):
        if child is not None and child.poll() is not None:
            return False
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(LOOK_S)
    return False


def family(pid: int, *, workers: int = 0) -> tuple[int, ...]:
    """A process and what it started, once there are so many `workers`: some listen before they have any. Raises NotStarted."""
    for _ in range(int(READY_S_MAX / LOOK_S)):
        children = psutil.Process(pid).children(recursive=True)
        if len(children) >= workers:
            return (pid, *(one.pid for one in children))
        time.sleep(LOOK_S)
    raise NotStarted("its worker did not start")
