"""What stands while proxies are measured: the service, the people's tokens, and those proxies that are installed."""

import contextlib
import os
import resource
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import jwt
import msgspec
import psutil
from cryptography.hazmat.primitives.asymmetric import ec

from load_tests.bench.edge import cpu_s, people
from load_tests.bench.peers.proxies import PROXIES, Proxy
from load_tests.bench.peers.starting import Given, NotStarted, Running, command, port_free


class Stand(msgspec.Struct, frozen=True):
    """The service runs until the end of the block, on `given.upstream`."""

    given: Given
    tokens: Sequence[str]
    service_pid: int


class Standing(msgspec.Struct, frozen=True):
    """A proxy that runs."""

    proxy: Proxy
    running: Running

    @property
    def name(self) -> str:
        return self.proxy.name

    def spent_s(self) -> float:
        """CPU seconds of its processes so far."""
        return sum(sum(cpu_s(pid)) for pid in self.running.pids)


@contextlib.contextmanager
def apart(stand: Stand, standing: Collection[Standing]) -> Iterator[str]:
    """Until the end of the block the proxies have the last core for themselves, the service and this process the others. In words; where
    there is one core, or they cannot be placed, nothing is."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        yield "all on the same cores"
        return
    own, others = cores[-1:], cores[:-1]
    here = (os.getpid(), stand.service_pid)
    for pid in here:
        _place(pid, others)
    for one in standing:
        for pid in one.running.pids:
            _place(pid, own)
    try:
        yield f"the proxy alone on a core, load and service on {len(others)} more"
    finally:
        for pid in here:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                _place(pid, cores)


def _place(pid: int, cores: Collection[int]) -> None:
    for thread in psutil.Process(pid).threads():
        os.sched_setaffinity(thread.id, cores)


def files_open() -> int:
    """Takes as many open files as this process may have, for itself and those that it starts; how many that are."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextlib.contextmanager
def service(people_count: int) -> Iterator[Stand]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # some proxies leave root behind
        jwks, subs, tokens = people(Path(folder), people_count)
        upstream = port_free()
        given = Given(folder=Path(folder), upstream=upstream, jwks=jwks, subs=subs, public=_public(jwks))
        words = [sys.executable, "-P", "-m", "load_tests.bench.peers.upstream", str(upstream)]
        with command(given, "service", words, upstream) as pid:
            yield Stand(given, tokens, pid)


def started(given: Given, names: Collection[str], held: contextlib.ExitStack) -> list[Standing]:
    """Those of `names` (all where empty) that are installed and start, until `held` is left; of the others is said why not."""
    standing = []
    for proxy in PROXIES:
        if names and proxy.name not in names:
            continue
        if proxy.missing is not None:
            print(f"left out: {proxy.name}, {proxy.missing} is not installed", flush=True)
            continue
        try:
            standing.append(Standing(proxy, held.enter_context(proxy.start(given))))
        except NotStarted as exc:
            print(f"left out: {proxy.name} did not start ({exc})", flush=True)
    return standing


def _public(jwks: Path) -> ec.EllipticCurvePublicKey:
    key = jwt.PyJWKSet.from_json(jwks.read_text()).keys[0].key
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("the issuer's key is of another kind")
    return key
