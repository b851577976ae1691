"""What stands while proxies are measured: the service, the people's tokens, and those proxies that are installed."""

import contextlib
import resource
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from load_tests.bench.edge import cpu_s, people
from load_tests.bench.peers.proxies import PROXIES, Proxy
from load_tests.bench.peers.starting import Given, NotStarted, Running, command, port_free


class Stand(msgspec.Struct, frozen=True):
    """The service runs until the end of the block, on `given.upstream`."""

    given: Given
    tokens: Sequence[str]


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
        with command(given, "service", words, upstream):
            yield Stand(given, tokens)


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
