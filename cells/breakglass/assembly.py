"""Break-glass of a cell put together from its settings."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.routing import Route

from cells.breakglass import api
from cells.breakglass.calls import AccessCalls
from cells.breakglass.certificates.authority import FileAuthority
from cells.breakglass.desk import Desk
from cells.breakglass.door.assembly import door_of
from cells.breakglass.door.door import Door
from cells.breakglass.door.settings import RECORDED_BYTES_MAX
from cells.breakglass.exceptions import verifiers_of
from cells.breakglass.issuing import Issuing
from cells.breakglass.keeper import Keeper
from cells.breakglass.locks.assembly import Locks
from cells.breakglass.paging import UNDER_WAY_MAX, Pager
from cells.breakglass.policy import AccessPolicy
from cells.breakglass.settings import AccessSettings
from cells.breakglass.sign_in import EngineerAuth
from cells.breakglass.standing import Ledger
from cells.breakglass.statements.assembly import Recording, recording
from cells.breakglass.statements.reading import DoorLog
from cells.breakglass.store import Steps
from cells.breakglass.tickets import tracker_of
from cells.breakglass.wall.wall import Wall
from cells.breakglass.words import PAGES_MAX
from cells.service.context import Context
from foundation.clock import Clock
from foundation.http import HttpClient, client, token_verifier
from foundation.ledger.draining import Writer
from foundation.ledger.notes import Verifier
from foundation.settings import SettingsError, secret_from_env
from foundation.tasks import Worker
from foundation.tokens import Issuer, TokenFile, TokenVerifier
from foundation.webhooks import Signing, keys_in
from foundation.words import Country


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a cell serves of break-glass, and the workers beside it. `recording`: of what is run through the door; `door`: None where
    settings state none."""

    calls: AccessCalls
    pager: Pager
    issuing: Issuing
    recording: Recording
    wall: Wall
    door: Door | None
    locks: Locks

    @property
    def routes(self) -> list[Route]:
        return api.routes(self.calls)

    @property
    def workers(self) -> dict[str, Worker]:
        opening = {} if self.door is None else {"access wall": self.wall.run, "access door": self.door.run}
        return {"access pages": self.pager.run, **self.locks.workers, **self.recording.workers, **opening}


@asynccontextmanager
async def assembled(
    settings: AccessSettings,
    context: Context,
    steps: Steps,
    ledger: Ledger,
    log_key: Verifier,
    http: HttpClient,
    writer: Writer,
    folder: Path,
    wall: Wall,
    locking: Callable[[Keeper], Locks],
) -> AsyncIterator[Access]:
    """`steps`: where they are kept; `ledger`: what stands in the cell's log, `writer`: what it is written by, `folder`: where it lies;
    `log_key`: whose it is; `wall`: of its shards; `locking`: makes what hears of other cells' locks. Raises SettingsError."""
    stated = settings.checked()
    policy = AccessPolicy(context.cell, "\n" + _text(stated.rules, "rules") if stated.rules else "")
    authority = FileAuthority(Path(stated.authority_key), Path(stated.authority_certificate))
    owners = verifiers_of(_text(path, "exception_keys") for path in stated.exception_keys)
    urls = [secret_from_env(name) for name in stated.pages]
    token = TokenFile(Path(stated.tickets.token_file)) if stated.tickets.token_file else None
    async with AsyncExitStack() as stack:
        tickets = await stack.enter_async_context(client(token=token, connections_max=8))
        pages = await stack.enter_async_context(client(connections_max=PAGES_MAX * UNDER_WAY_MAX))
        keeper = Keeper(steps, context.clock)
        locks = locking(keeper)
        pager = Pager(cell=context.cell, keeper=keeper, http=pages, urls=urls, signing=_signing(stated, context.clock))
        tracker = tracker_of(stated.tickets, tickets)
        desk = Desk(
            context=context,
            keeper=keeper,
            policy=policy,
            tracker=tracker,
            approvals=stated.approvals,
            owners=owners,
            alarm=pager.alarm,
            elsewhere=locks.elsewhere,
            spread=locks.telling.alarm,
        )
        issuing = Issuing(
            desk=desk,
            keeper=keeper,
            authority=authority,
            ledger=ledger,
            log_key=log_key,
            elsewhere=locks.elsewhere,
        )
        auth = EngineerAuth(
            _verifier([stated.issuer], http, context),
            None if stated.on_call is None else _verifier([stated.on_call], http, context),
            context.clock,
            lambda country: inside(context, country),
        )
        log = DoorLog(folder, log_key)
        calls = AccessCalls(
            auth=auth,
            desk=desk,
            issuing=issuing,
            keeper=keeper,
            shards=context.shards,
            logins=stated.logins,
            door=log,
            locks=locks,
        )
        most = RECORDED_BYTES_MAX if stated.door is None else stated.door.recorded_bytes_max
        recorded, door = recording(keeper, tracker, context.clock, writer, log, locks.elsewhere, most), None
        if stated.door is not None:
            under = Path(stated.authority_certificate)
            door = door_of(stated.door, under, issuing, wall, recorded.recorder, context.clock)
        yield Access(calls=calls, pager=pager, issuing=issuing, recording=recorded, wall=wall, door=door, locks=locks)


def inside(context: Context, country: Country) -> bool:
    """Whether a country is one of the jurisdiction of this cell's data, by the rules that hold. Raises ProblemError before the first."""
    rules = context.rules.require()
    declared = rules.policy.cells.get(context.cell)
    if declared is None:
        return False
    return any(country in row.countries for row in rules.pack.jurisdictions if row.id == declared.jurisdiction)


def _signing(settings: AccessSettings, clock: Clock) -> Signing | None:
    """Raises SettingsError where its file holds no keys."""
    if not settings.pages_signing_file:
        return None
    path = Path(settings.pages_signing_file)
    keys_in(path)
    return Signing(path, clock)


def _verifier(issuers: Sequence[Issuer], http: HttpClient, context: Context) -> TokenVerifier:
    return token_verifier(issuers, http, context.clock)


def _text(path: str, key: str) -> str:
    """Raises SettingsError."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"access.{key}: {path} cannot be read") from exc
