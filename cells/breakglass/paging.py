"""Emergencies told to everybody: each webhook hears of each emergency, tried again within bounds, and what became of it is recorded.
Beside that, the book's metrics.

What was not told yet follows from the book, so a restart forgets nobody; a webhook may hear of one emergency twice, under one id.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence

import httpx
import msgspec

from cells.breakglass.book import Book, Grant
from cells.breakglass.keeper import Keeper
from cells.breakglass.metrics import observe
from cells.breakglass.steps import Paged
from cells.breakglass.words import SECOND_US, GrantId
from foundation import logs
from foundation.http import HttpClient
from foundation.mute import Secret
from foundation.problems import ProblemError
from foundation.settings import SettingsError
from foundation.tasks import Backoff
from foundation.webhooks import Signing
from foundation.words import ActorId, CellId

log = logs.get(__name__)

ATTEMPTS_MAX = 8
FIRST_S = 0.2
PAUSE_S_MAX = 10.0
LOOK_S = 5.0
"""Between two looks at the book while nobody calls."""
UNDER_WAY_MAX = 4
"""Pages that one webhook is told at once: one that does not answer keeps the others from nothing."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What a webhook gets, as JSON: ids and metadata, nothing of whose data it is about. Times are unix seconds."""

    event: str
    cell: CellId
    grant: str
    engineer: str
    purpose: str
    ticket: str
    minutes: int
    at: int
    review_due: int


class Pager:
    """Owns the calls under way. `urls`: secrets, since some services put theirs in the path. `signing`: what signs pages, if anything."""

    def __init__(
        self,
        *,
        cell: CellId,
        keeper: Keeper,
        http: HttpClient,
        urls: Sequence[Secret[str]],
        signing: Signing | None = None,
    ) -> None:
        self._cell = cell
        self._keeper = keeper
        self._http = http
        self._urls = urls
        self._signing = signing
        self._called = asyncio.Event()
        self._under_way: set[tuple[GrantId, int]] = set()

    def alarm(self) -> None:
        """There is an emergency: look now."""
        self._called.set()

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._called.clear()
                try:
                    book, at_us = await self._keeper.book()
                    observe(book, at_us)
                    for grant, number in self._untold(book):
                        self._under_way.add((grant.id, number))
                        group.create_task(self._page(grant, number))
                except ProblemError as exc:
                    log.warning("access_pages_wait", code=exc.problem.code.value)
                try:
                    async with asyncio.timeout(LOOK_S):
                        await self._called.wait()
                except TimeoutError:
                    continue

    def _untold(self, book: Book) -> list[tuple[Grant, int]]:
        """What is to be told now, the oldest first: of each webhook as much as may be under way."""
        open_pages = [
            (grant, number)
            for number in range(len(self._urls))
            for grant in book.grants.values()
            if grant.emergency and grant.approved_at_us is not None and number not in grant.paged
        ]
        room = Counter(dict.fromkeys(range(len(self._urls)), UNDER_WAY_MAX))
        room.subtract(number for _, number in self._under_way)
        found = list[tuple[Grant, int]]()
        for grant, number in open_pages:
            if (grant.id, number) not in self._under_way and room[number] > 0:
                room[number] -= 1
                found.append((grant, number))
        return found

    async def _page(self, grant: Grant, number: int) -> None:
        """Tells one webhook, and records what became of it. What could not be recorded is told again."""
        try:
            delivered, attempts = await self._tell(grant, number)
            step = Paged(grant=grant.id, webhook=number, delivered=delivered, attempts=attempts)
            await self._keeper.act(ActorId(f"cell:{self._cell}"), lambda _book, _at: (step,))
        except ProblemError as exc:
            log.warning("access_pages_wait", code=exc.problem.code.value)
        else:
            self._called.set()  # what waited for room
        finally:
            self._under_way.discard((grant.id, number))

    async def _tell(self, grant: Grant, number: int) -> tuple[bool, int]:
        """Whether the webhook took it, and after how many attempts."""
        page = page_of(grant, self._cell)
        body = msgspec.json.encode(page)
        backoff = Backoff(first_s=FIRST_S, max_s=PAUSE_S_MAX)
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                head = {"content-type": "application/json", "idempotency-key": page.event}
                head |= {} if self._signing is None else self._signing.headers(page.event, body)
                answer = await self._http.post(self._urls[number].reveal(), content=body, headers=head)
                if 200 <= answer.status_code < 300:
                    return True, attempt
            except (httpx.HTTPError, httpx.InvalidURL, OSError, SettingsError) as exc:
                log.warning("access_page_failed", attempt=attempt, error=type(exc).__name__)
            if attempt < ATTEMPTS_MAX:
                await asyncio.sleep(backoff.next_s())
        log.error("access_page_given_up", attempt=ATTEMPTS_MAX)
        return False, ATTEMPTS_MAX


def page_of(grant: Grant, cell: CellId) -> Page:
    due = grant.review_due_us() or grant.requested_at_us
    return Page(
        event=f"emergency:{grant.id}",
        cell=cell,
        grant=grant.id,
        engineer=grant.engineer,
        purpose=grant.terms.purpose.value,
        ticket=grant.terms.ticket,
        minutes=grant.terms.minutes,
        at=grant.requested_at_us // SECOND_US,
        review_due=due // SECOND_US,
    )
