"""Break-glass of a cell without a database: its real calls over ASGI, steps in memory, a real log in a folder, a clock that is told."""

import functools
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from cells.breakglass.assembly import Access, assembled
from cells.breakglass.settings import AccessSettings, Tickets
from cells.breakglass.standing import FolderLedger
from cells.breakglass.steps import Taken, event_of, read
from cells.breakglass.store import PAGE, Row, Turn
from cells.breakglass.wall.wall import Wall
from cells.service.context import Context
from cells.shards.core import Home
from cells.shards.homes import Homes
from cells.shards.shard import unreachable
from directory.placement.core import State
from directory.rules.client import HeldRules
from foundation.clock import ManualClock, SystemClock
from foundation.http import HttpClient, application, client
from foundation.ledger.draining import Writer
from foundation.ledger.entries import Recorded
from foundation.ledger.log import Log
from foundation.ledger.notes import Signer
from foundation.mute import Secret
from foundation.words import CellId, Epoch, FeedSeq, ServiceId, ShardId, SubjectId
from routing_rules.rules import Rules, load
from tests.stands.access import CELL, SUBJECT, authority, signing_request
from tests.stands.cell import POLICY
from tests.stands.ledger import SIGNER, unsynced
from tests.stands.locks import JustHeard, MemoryLocks, just_heard
from tests.stands.service_tokens import ServiceIssuer

OWNER = Signer("security.example.com/exceptions", Secret(b"o" * 32))
OTHER = SubjectId("1c5b2e7f-52b1-4c59-9a35-0a2f6a1d3c77")
FAR = SubjectId("2c5b2e7f-52b1-4c59-9a35-0a2f6a1d3c77")
"""Another subject of this shard, and one of the second."""


class MemorySteps:
    """Implements `cells.breakglass.store.Steps`. `flows`: whether the log takes in what is recorded. `fails_at`: a kind of step that is
    lost with its transaction."""

    def __init__(self, log: Log | None = None) -> None:
        self.kept: list[Row] = []
        self.flows = True
        self.fails_at = ""
        self._log = log
        self._logged = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        held = _MemoryTurn(list(self.kept))
        yield held
        if any(type(row.taken.step).__name__ == self.fails_at for row in held.steps):
            raise unreachable(ShardId("s1"))
        self.kept = held.steps
        self.drain()

    def drain(self) -> None:
        """What was recorded stands in the log, and in a signed checkpoint."""
        if self._log is None or not self.flows:
            return
        fresh = [recorded(row) for row in self.kept[self._logged :]]
        self._log.append({"s1": fresh})
        self._log.publish()
        self._logged = len(self.kept)


class _MemoryTurn:
    def __init__(self, steps: list[Row]) -> None:
        self.steps = steps

    async def rows(self, position: int) -> list[Row]:
        return [row for row in self.steps if row.position >= position][:PAGE]

    async def record(self, steps: Sequence[tuple[str, Taken]]) -> None:
        for name, taken in steps:
            if name not in {row.id for row in self.steps}:
                self.steps.append(Row(len(self.steps) + 1, name, _through_json(taken)))


def _through_json(taken: Taken) -> Taken:
    return read(taken.at_us, taken.by, json.dumps(event_of(taken, "").details).encode())


def recorded(row: Row) -> Recorded:
    event = event_of(row.taken, row.id)
    details = msgspec.Raw(json.dumps(event.details).encode())
    return Recorded(
        position=row.position,
        id=row.id,
        at_us=row.taken.at_us,
        kind=event.kind.value,
        actor=row.taken.by,
        subject_id=None,
        details=details,
    )


class AccessStand:
    """What a test asks, and what it may turn."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock(float(int(SystemClock().unix_s())))
        self.staff = ServiceIssuer(folder, issuer="https://staff.example.com", audience="access")
        self.duty = ServiceIssuer(folder, issuer="https://duty.example.com", audience="on-call")
        self.tickets = folder / "tickets.json"
        self.ticket("OPS-7", "open")
        self.steps = MemorySteps()
        self.writer = Writer()
        self.locks = MemoryLocks()
        self.access: Access
        self.http: HttpClient

    @property
    def heard(self) -> JustHeard:
        """Of other cells' locks."""
        found = self.access.locks.elsewhere
        assert isinstance(found, JustHeard)
        return found

    def ticket(self, name: str, state: str) -> None:
        self.tickets.write_text(json.dumps({name: state}))

    def settings(self, **changes: Any) -> AccessSettings:
        authority(self.folder, at_us=int(self.clock.unix_s()) * 1_000_000)
        (self.folder / "owner.vkey").write_text(OWNER.verifier.text)
        usual = AccessSettings(
            issuer=self.staff.issuer,
            on_call=self.duty.issuer,
            authority_key=str(self.folder / f"{CELL}.ca-key"),
            authority_certificate=str(self.folder / f"{CELL}.ca.pem"),
            tickets=Tickets(file=str(self.tickets)),
            exception_keys=(str(self.folder / "owner.vkey"),),
        )
        return msgspec.structs.replace(usual, **changes)

    def who(
        self, name: str, *roles: str, at: str = "DE", declared: str | None = None, home: str = "DE", **claims: Any
    ) -> dict[str, str]:
        """The head of a request by somebody: seen and declared in one country, unless said otherwise."""
        now = int(self.clock.unix_s())
        given: dict[str, Any] = {"home_country": home, "observed_country": at, "iat": now, "exp": now + 600}
        token = self.staff.token(claims.pop("sub", name), claims.pop("roles", roles or ("engineer",)), **given | claims)
        return {"authorization": f"Bearer {token}", "domicile-declared": declared or at}

    def proof(self, name: str, **claims: Any) -> str:
        now = int(self.clock.unix_s())
        return self.duty.token(name, [], **({"on_call": True, "iat": now, "exp": now + 3600} | claims))

    async def post(self, path: str, head: dict[str, str], body: Any) -> httpx.Response:
        return await self.http.post(f"/access/{path}", headers=head, json=body)

    async def get(self, path: str, head: dict[str, str], **params: Any) -> httpx.Response:
        return await self.http.get(f"/access/{path}", headers=head, params=params)

    async def asked(self, head: dict[str, str] | None = None, **changes: Any) -> str:
        """A request that is taken; its id."""
        answer = await self.post("grants", head or self.who("alice"), {"terms": terms(**changes)})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["grant"]["id"])

    async def approved(self, **changes: Any) -> str:
        grant = await self.asked(**changes)
        answer = await self.post(f"grants/{grant}/approve", self.who("bob", "approver"), {"version": 1})
        assert answer.status_code == 200, answer.text
        return grant

    async def certified(self, grant: str, head: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        body = {"request": signing_request(ec.generate_private_key(ec.SECP256R1())), **more}
        return await self.post(f"grants/{grant}/certificate", head or self.who("alice"), body)


def terms(**changes: Any) -> dict[str, Any]:
    usual = {"subjects": [SUBJECT], "purpose": "debugging", "ticket": "OPS-7", "minutes": 15, "reason": "wrong totals"}
    return usual | changes


def reason(answer: httpx.Response) -> tuple[int, str]:
    """Status and reason of a refusal."""
    return answer.status_code, answer.json().get("reason", "")


def homes(clock: ManualClock) -> Homes:
    held = Homes(started_unix_s=clock.unix_s())
    for subject, shard in ((SubjectId(SUBJECT), "s1"), (OTHER, "s1"), (FAR, "s2")):
        held.put(subject, Home(ShardId(shard), Epoch(1), State.ACTIVE, (ServiceId("orders"),)))
    return held


@functools.cache
def _rules() -> Rules:
    return load(POLICY)


class _Up:
    """A shard of which only that it is up is asked."""

    up = True


@asynccontextmanager
async def access_stand(folder: Path, patch: pytest.MonkeyPatch, **changes: Any) -> AsyncIterator[AccessStand]:
    """Changes are those of `[access]`."""
    unsynced(patch)
    stand = AccessStand(folder)
    rules = HeldRules()
    rules.take(_rules(), FeedSeq(1), 0.0)
    shards = cast("Any", {ShardId(name): _Up() for name in ("s1", "s2")})
    nothing = cast("Any", None)
    context = Context(
        cell=CellId(CELL),
        clock=stand.clock,
        auth=nothing,
        verifier=nothing,
        minter=nothing,
        rules=rules,
        homes=homes(stand.clock),
        directory=nothing,
        shards=shards,
    )
    ledger = FolderLedger(folder / "log", SIGNER.verifier)
    wall = Wall(shards={}, contracts={}, key=Secret(b"w" * 32))
    with Log(folder / "log", SIGNER, chance=secrets.token_bytes) as log:
        stand.steps, stand.writer.log = MemorySteps(log), log
        async with (
            client() as http,
            assembled(
                stand.settings(**changes),
                context,
                stand.steps,
                ledger,
                SIGNER.verifier,
                http,
                stand.writer,
                folder / "log",
                wall,
                lambda keeper: just_heard(CellId(CELL), keeper, stand.locks, stand.clock, folder / "log", stand.writer),
            ) as access,
        ):
            stand.access = access
            app = application(access.routes, ready=lambda: None)
            async with HttpClient(transport=httpx.ASGITransport(app=app), base_url="http://cell") as stand.http:
                yield stand
