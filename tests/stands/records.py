"""The records API over one real shard, without directory or feed: rules are given, homes are put by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp

from cells.records import api
from cells.records.contracts import Contract
from cells.records.lane import Door, Lane
from cells.records.limits import Limits
from cells.service.context import Context
from cells.service.directory import CellDirectory
from cells.shards.homes import Homes
from cells.shards.shard import Shard
from deploy.local.postgres import PostgresServer
from directory.rules.client import HeldRules
from foundation.clock import SystemClock
from foundation.decision import Decision
from foundation.decision_header import CellVerifier, Minter, new_decision_id
from foundation.http import HttpClient, ServiceAuth, application, client, token_verifier
from foundation.words import RECORDS, ActorId, Epoch, FeedSeq, ServiceId, SubjectId, Verb, mint_subject_id
from routing_rules.rules import load
from tests.stands.cell import POLICY, ROOT
from tests.stands.servers import serving
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.shard import (
    CELL,
    NOTES_DDL,
    S1,
    Dsns,
    drop_database,
    make_shard_database,
    notes,
    place,
)

CLOCK = SystemClock()
PATIENCE_S = 60.0
CONNECTIONS_MAX = 1_000


class RecordsStand:
    """One subject at home under epoch 5, and requests decided for it."""

    def __init__(
        self, shard: Shard, dsns: Dsns, context: Context, app: ASGIApp, http: HttpClient, tokens: ServiceIssuer
    ) -> None:
        self.shard = shard
        self.dsns = dsns
        self.context = context
        self.app = app
        self.http = http
        self.tokens = tokens
        self.minter = Minter(CELL, ROOT)
        self.subject = mint_subject_id()
        self.epoch = 5

    def headers(
        self,
        service: str = "orders",
        *,
        subject: SubjectId | None = None,
        epoch: int | None = None,
        verb: Verb = Verb.WRITE,
        actor: str | None = None,
        purpose: str = "service",
    ) -> dict[str, str]:
        asked = subject or self.subject
        decision = Decision(
            cell=CELL,
            service=ServiceId(service),
            subject=asked,
            actor=ActorId(actor or asked),
            epoch=Epoch(self.epoch if epoch is None else epoch),
            verb=verb,
            purpose=purpose,
            rules=self.context.rules.require().digest,
            expires=CLOCK.unix_s() + 20,
            id=new_decision_id(),
        )
        headers = {"domicile-decision": self.minter.mint(decision)}
        if service != RECORDS:
            headers |= self.tokens.headers(f"service:{service}", [f"service:{service}@{CELL}"])
        return headers

    async def call(
        self, method: str, query: str = "", body: Any = None, *, prefer: str = "", **who: Any
    ) -> httpx.Response:
        """A request on /records/notes by the product service `orders`, or by whom `who` says."""
        table = who.pop("table", "notes")
        headers = self.headers(**who)
        if prefer:
            headers["prefer"] = prefer
        more = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
        if isinstance(body, bytes):
            headers["content-type"] = "application/json"
        return await self.http.request(method, f"/records/{table}{query}", headers=headers, **more)

    async def stored(self, *bodies: Any, **who: Any) -> list[dict[str, Any]]:
        answer = await self.call("POST", "", list(bodies), prefer="return=representation", **who)
        assert answer.status_code == 201, answer.text
        found: list[dict[str, Any]] = answer.json()
        return found


@asynccontextmanager
async def records_stand(
    server: PostgresServer,
    folder: Path,
    contracts: dict[str, Contract] | None = None,
    ddl: str = NOTES_DDL,
    *,
    rows_max: int = 100,
    limits: Limits | None = None,
) -> AsyncIterator[RecordsStand]:
    held = {"notes": notes()} if contracts is None else contracts
    name, dsns = await make_shard_database(server, ddl)
    tokens = ServiceIssuer(folder)
    rules = HeldRules()
    rules.take(load(POLICY), FeedSeq(1), 0.0)
    homes = Homes(started_unix_s=CLOCK.unix_s())
    shard = Shard(cell=CELL, shard=S1, dsns=dsns, contracts=held, homes=homes, clock=CLOCK)
    try:
        async with client() as outside, shard.opened():
            context = Context(
                cell=CELL,
                clock=CLOCK,
                auth=ServiceAuth(token_verifier([tokens.issuer], outside, CLOCK), CLOCK),
                verifier=CellVerifier(CELL, (ROOT,)),
                minter=Minter(CELL, ROOT),
                rules=rules,
                homes=homes,
                directory=CellDirectory(outside),
                shards={S1: shard},
            )
            routes = api.routes(context, held, rows_max, limits)
            app = Lane(application(routes, ready=lambda: None, straight=routes[:1]), routes[0])
            async with (
                serving(app, http=Door) as port,
                client(
                    f"http://127.0.0.1:{port}",
                    total_s=PATIENCE_S,
                    connect_s=PATIENCE_S,
                    connections_max=CONNECTIONS_MAX,
                ) as http,
            ):
                built = RecordsStand(shard, dsns, context, app, http, tokens)
                await place(shard, built.subject, built.epoch)
                yield built
    finally:
        await drop_database(server, name)


async def fill(live: RecordsStand) -> RecordsStand:
    """Five rows of the subject's, one of a stranger."""
    await live.stored(
        {"rank": 1, "body": "one, first", "total": 10, "price": 1.10, "done": True, "due": "2026-01-01T00:00:00Z"},
        {"rank": 2, "body": 'a "quoted" b', "total": 20, "price": 2.5, "done": False, "due": "2026-02-01T00:00:00Z"},
        {"rank": 3, "body": None, "total": None, "price": None, "done": False, "due": None},
        {
            "rank": 4,
            "body": "two",
            "total": 9007199254740993,
            "price": 4,
            "done": True,
            "due": "2026-03-01T00:00:00+02:00",
        },
        {"rank": 5, "body": "", "total": -5, "price": 0.00, "done": False, "due": "2026-04-01T00:00:00Z"},
    )
    stranger = mint_subject_id()
    await place(live.shard, stranger, 1)
    await live.stored({"rank": 1, "body": "secret"}, subject=stranger, epoch=1)
    return live
