"""What tests of witnesses share: witnesses in this process, and a network on which one can be away, slow, or say something else."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from foundation.clock import Clock, ManualClock
from foundation.http import HttpClient
from foundation.ledger import merkle
from foundation.ledger.notes import Signer, Verifier
from foundation.ledger.reading import LogReader
from foundation.ledger.settings import LedgerSettings, WitnessPlace
from foundation.ledger.witness.api import witness_application
from foundation.ledger.witness.asking import WitnessAt
from foundation.ledger.witness.cosignatures import Cosigner
from foundation.ledger.witness.gathering import Plan
from foundation.ledger.witness.quorum import Quorum, Reach
from foundation.ledger.witness.requests import Submission
from foundation.ledger.witness.witness import Witness
from foundation.mute import Secret
from tests.stands.ledger import SIGNER, reader

NAMES = ("eu", "us", "in")
Answer = Callable[[httpx.Request], httpx.Response]


def cosigner(name: str) -> Cosigner:
    return Cosigner(f"witness.test/{name}", Secret(name.encode().ljust(32, b"w")))


def witness(
    folder: Path, name: str = "eu", *, clock: Clock | None = None, known: tuple[Verifier, ...] = (SIGNER.verifier,)
) -> Witness:
    """Its state lies in folder/name."""
    return Witness(folder / name, cosigner(name), known, clock or ManualClock())


def with_cosignatures(note: bytes, *names: str, at_s: int = 1_800_000_000) -> bytes:
    """As these witnesses would have it, whatever they know of the log."""
    text = note.decode().rpartition("\n\n")[0] + "\n"
    return note + "".join(cosigner(name).cosign(text, at_s) for name in names).encode()


def submission(folder: Path, old: int, signer: Signer = SIGNER, note: bytes | None = None) -> bytes:
    """What a log in `folder` submits of its newest checkpoint, or of an earlier one, to a witness that has cosigned `old` entries."""
    found = LogReader(reader(folder, signer)._fetch, signer.verifier, note)
    path = merkle.consistency(old, found.checkpoint.size, found.hashes)
    return Submission(old, tuple(path), found.signed).render()


class Network(httpx.AsyncBaseTransport):
    """Witnesses by their host. `says`: another answer than theirs; `slow`: their answers wait for the event."""

    def __init__(self, folder: Path, *names: str, clock: Clock | None = None) -> None:
        self.folder = folder
        self.clock = clock or ManualClock()
        self.away: set[str] = set()
        self.slow: dict[str, asyncio.Event] = {}
        self.says: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.sent: list[tuple[str, dict[str, str], bytes]] = []
        """Where each request went, its header fields, its body."""
        self.under_way: Counter[str] = Counter()
        self.at_once: Counter[str] = Counter()
        """The most requests to each that were under way at one moment."""
        self.there = {name: witness(folder, name, clock=self.clock) for name in names}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host.partition(".")[0]
        self.asked.append(name)
        self.sent.append((str(request.url), dict(request.headers), await request.aread()))
        self.under_way[name] += 1
        self.at_once[name] = max(self.at_once[name], self.under_way[name])
        try:
            return await self._answer(name, request)
        finally:
            self.under_way[name] -= 1

    async def _answer(self, name: str, request: httpx.Request) -> httpx.Response:
        if name in self.away:
            raise httpx.ConnectError("nobody listens there", request=request)
        if name in self.says:
            return self.says[name](request)
        app = witness_application(self.there[name], lambda: None)
        answer = await httpx.ASGITransport(app=app).handle_async_request(request)
        if name in self.slow:
            await self.slow[name].wait()
        return answer

    def client(self) -> HttpClient:
        return HttpClient(transport=self)

    def app(self, name: str) -> ASGIApp:
        """A witness for a server of its own: while it is away every call of it ends with 503."""
        there = witness_application(self.there[name], lambda: None)

        async def answered(scope: Scope, receive: Receive, send: Send) -> None:
            if name in self.away and scope["type"] == "http":
                await Response(status_code=503)(scope, receive, send)
            else:
                await there(scope, receive, send)

        return answered

    def close(self) -> None:
        for one in self.there.values():
            one.close()


@contextmanager
def network(folder: Path, *names: str, clock: Clock | None = None) -> Iterator[Network]:
    built = Network(folder, *(names or NAMES), clock=clock)
    try:
        yield built
    finally:
        built.close()


def plan(near: Quorum | None, wide: Quorum | None) -> Plan:
    """Of all NAMES."""
    witnesses = {name: WitnessAt(name=name, url=f"http://{name}.test", key=cosigner(name).verifier) for name in NAMES}
    stated = {Reach.NEAR: near, Reach.WIDE: wide}
    return Plan(witnesses, {reach: quorum for reach, quorum in stated.items() if quorum is not None})


NEAR = Quorum(of=("eu",), needed=1, within_s=10.0)
WIDE = Quorum(of=NAMES, needed=2, within_s=60.0)


def cosigned_by(kept: LedgerSettings, folder: Path, urls: Mapping[str, str]) -> LedgerSettings:
    """The settings of a log with witnesses at these URLs, whose public keys are put into `folder`; the first of them is the near one."""
    from msgspec.structs import replace

    places = {}
    for name, url in urls.items():
        (folder / f"{name}.vkey").write_text(cosigner(name).verifier.text)
        places[name] = WitnessPlace(url=url, key_file=str(folder / f"{name}.vkey"))
    names = tuple(urls)
    return replace(
        kept,
        witnesses=places,
        near=Quorum(of=names[:1], needed=1, within_s=10.0),
        wide=Quorum(of=names, needed=len(names) // 2 + 1, within_s=60.0),
    )
