"""The cell service put together: rules, shards, routes, and the workers that keep them true."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from starlette.types import ASGIApp

from cells.aliases import api as aliases_api
from cells.aliases.claims import Aliases
from cells.aliases.client import AliasDirectory
from cells.aliases.sealing import Sealer
from cells.aliases.worker import keep as keep_aliases
from cells.crossings import api as crossings_api
from cells.crossings.bookings import Bookings
from cells.egress import api as egress_api
from cells.egress import views
from cells.fences import api as fences_api
from cells.ledger import api as ledger_api
from cells.ledger.worker import export_for_ever, recording, sources
from cells.records import api as records_api
from cells.records.contracts import Contract, read_folder
from cells.records.lane import Lane
from cells.service import api as cell_api
from cells.service.context import Context
from cells.service.directory import CellDirectory
from cells.service.worker import ShardWorker
from cells.settings import CellSettings
from cells.shards.homes import Homes
from cells.shards.shard import Shard
from directory.feed.client import FeedFollower
from directory.rules.client import HeldRules, RulesFollower
from foundation import logs
from foundation.blinding_keys import Blinding
from foundation.clock import Clock, SystemClock
from foundation.decision import RootKey
from foundation.decision_header import CellVerifier, Minter
from foundation.http import HttpClient, ServiceAuth, application, client, token_verifier
from foundation.ledger.keeping import Keeping, keeping
from foundation.ledger.sign_ins import SignIns
from foundation.ledger.witness.gathering import Gathering
from foundation.problems import Code, Problem
from foundation.server import Drain
from foundation.settings import SettingsError
from foundation.tasks import Worker
from foundation.tokens import Issuer, TokenFile, cell_audience
from foundation.words import ShardId

if TYPE_CHECKING:
    from cells.breakglass.assembly import Access

log = logs.get(__name__)


@dataclass(kw_only=True)
class Cell:
    """What a process serves: the application, and the workers that keep it true (run them beside it)."""

    context: Context
    aliases: Aliases
    bookings: Bookings
    operators: ServiceAuth
    contracts: Mapping[str, Contract]
    settings: CellSettings
    feed: FeedFollower
    rules: RulesFollower
    drain: Drain
    blinding: Blinding | None = None
    ledger: Keeping | None = None
    access: "Access | None" = None
    app: ASGIApp = field(init=False)
    shards: dict[ShardId, ShardWorker] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # The first is what most requests are: a read or write of rows.
        routes = [
            *records_api.routes(self.context, self.contracts, self.settings.rows_max, self.settings.limits),
            *cell_api.routes(self.context, self.aliases),
            *aliases_api.routes(self.context, self.aliases),
            *crossings_api.routes(self.context, self.bookings, self.operators),
            *fences_api.routes(self.context, self.operators),
            *egress_api.routes(self.context, self.contracts, self.settings.egress, self.operators),
            *views.routes(self.context, self.contracts, self.settings.egress, self.bookings),
            *ledger_api.routes(self.ledger, self.operators),
            *([] if self.access is None else self.access.routes),
        ]
        self.app = Lane(application(routes, ready=self.ready, straight=routes[:1]), routes[0], self.context.clock)

    @property
    def workers(self) -> dict[str, Worker]:
        return {
            "feed": self.feed.run,
            "rules": self.rules.run,
            "shards": self.run_shards,
            "aliases": lambda: keep_aliases(self.aliases),
            **({} if self.blinding is None else {"blinding keys": self.blinding.watch}),
            **({} if self.ledger is None else self._of_ledger(self.ledger)),
            **({} if self.access is None else self.access.workers),
        }

    @property
    def cosignatures(self) -> Gathering | None:
        """Who gathers them, None where nobody cosigns."""
        return None if self.ledger is None else self.ledger.cosignatures

    def ready(self) -> Problem | None:
        """None once rules, feed and shards have been heard; a shard that is down refuses its own subjects only."""
        leaving = self.drain.problem()
        if leaving is not None:
            return leaving
        detail = self._missing()
        return None if detail is None else Problem(code=Code.NOT_READY, detail=detail, retry_after_s=1)

    def _missing(self) -> str | None:
        if self.context.rules.current is None:
            return "no rules are known yet"
        if self.mistakes:
            return "; ".join(self.mistakes)
        if self.feed.restored or any(worker.feed.restored for worker in self.shards.values()):
            return "the directory was restored from an older state"
        if not self.shards or not all(worker.shard.tried for worker in self.shards.values()):
            return "shards are being opened"
        if not any(worker.shard.up is not None and worker.current for worker in self.shards.values()):
            return "no shard is up and has caught up with the directory"
        return None

    def _of_ledger(self, kept: Keeping) -> dict[str, Worker]:
        return {
            **kept.workers(lambda: sources(self.context.shards)),
            "ledger exports": lambda: export_for_ever(kept, self.context, self.rules, self.mistakes),
        }

    async def run_shards(self) -> None:
        """Waits for the first rules, then runs each shard that they declare. Policy that adds shards asks for a new start."""
        await self.rules.first.wait()
        self._declare()
        async with asyncio.TaskGroup() as group:
            for name, worker in self.shards.items():
                group.create_task(worker.run(), name=f"shard {name}")
            # Without any shard there is nothing to run, and the process says so on /readyz.
            await asyncio.Event().wait()

    def _declare(self) -> None:
        context, policy = self.context, self.context.rules.require().policy
        declared = policy.cells.get(context.cell)
        if declared is None:
            self.mistakes.append(f"policy declares no cell {context.cell}")
            log.error("cell_not_declared", cell=context.cell)
            return
        for name, stated in declared.shards.items():
            try:
                dsns = self.settings.dsns(stated.dsn_env)
            except SettingsError as exc:
                self.mistakes.append(f"shard {name}: {exc}")
                log.fault("shard_not_configured", exc, shard=name, reason=str(exc))
                continue
            shard = Shard(
                cell=context.cell,
                shard=name,
                dsns=dsns,
                contracts=self.contracts,
                homes=context.homes,
                clock=context.clock,
            )
            context.shards[name] = shard
            self.shards[name] = ShardWorker(shard, context.homes, context.directory)


@asynccontextmanager
async def opened(
    settings: CellSettings, *, clock: Clock | None = None, drain: Drain | None = None
) -> AsyncIterator[Cell]:
    """A cell service by its settings. Raises SettingsError."""
    used = clock or SystemClock()
    roots = settings.checked().roots()
    contracts = read_folder(Path(settings.contracts))
    token = TokenFile(Path(settings.token_file))
    blinding = Blinding(Path(settings.blinding_keyring)) if settings.blinding_keyring else None
    async with (
        client() as http,
        client(settings.directory, token=token, connections_max=64) as calls,
        aclosing(Bookings()) as bookings,
        AsyncExitStack() as opening,
    ):
        directory = CellDirectory(calls)
        shards: dict[ShardId, Shard] = {}
        held = HeldRules()
        feed = FeedFollower(directory, used)
        context = Context(
            cell=settings.cell,
            clock=used,
            auth=ServiceAuth(token_verifier(settings.service_issuers, http, used), used),
            verifier=CellVerifier(settings.cell, roots),
            minter=Minter(settings.cell, roots[0]),
            rules=held,
            homes=Homes(started_unix_s=used.unix_s()),
            directory=directory,
            shards=shards,
        )
        record = recording(context)
        kept = None if settings.ledger is None else keeping(settings.ledger, record, used, http)
        sign_ins = SignIns(record, used, service=f"cell:{settings.cell}")
        access = await opening.enter_async_context(_access(settings, context, contracts, roots[0], kept, http))
        yield Cell(
            context=context,
            aliases=Aliases(
                cell=settings.cell,
                directory=AliasDirectory(directory),
                blinder=lambda: None if blinding is None else blinding.blinder,
                sealer=Sealer(roots),
                shards=shards,
            ),
            bookings=bookings,
            operators=ServiceAuth(token_verifier(_of_cell(settings), http, used), used, verified=sign_ins),
            contracts=contracts,
            settings=settings,
            feed=feed,
            rules=RulesFollower(directory, feed, held, used),
            drain=drain or Drain(),
            blinding=blinding,
            ledger=kept,
            access=access,
        )


@asynccontextmanager
async def _access(
    settings: CellSettings,
    context: Context,
    contracts: Mapping[str, Contract],
    root: RootKey,
    kept: Keeping | None,
    http: HttpClient,
) -> "AsyncIterator[Access | None]":
    """Raises SettingsError."""
    if settings.access is None or kept is None:
        yield None
        return
    # Cells without it need no engine of policies.
    from cells.breakglass.assembly import assembled
    from cells.breakglass.locks.assembly import locks_of
    from cells.breakglass.locks.source import LockDirectory
    from cells.breakglass.standing import FolderLedger
    from cells.breakglass.store import PostgresSteps
    from cells.breakglass.wall.wall import Wall

    wall = Wall(shards=context.shards, contracts=contracts, key=root.key)
    steps, key = PostgresSteps(context.event_shard), kept.signer.verifier
    standing = FolderLedger(kept.folder, key, kept.cosignatures)
    source = LockDirectory(context.directory)
    locking = partial(
        locks_of,
        cell=context.cell,
        issuer=settings.access.issuer.issuer,
        source=source,
        clock=context.clock,
        folder=kept.folder,
        writer=kept.writer,
    )
    opening = assembled(settings.access, context, steps, standing, key, http, kept.writer, kept.folder, wall, locking)
    async with opening as access:
        yield access


def _of_cell(settings: CellSettings) -> list[Issuer]:
    """The service issuers with the audience of this cell alone."""
    return [
        msgspec.structs.replace(issuer, audience=cell_audience(issuer.audience, settings.cell))
        for issuer in settings.service_issuers
    ]
