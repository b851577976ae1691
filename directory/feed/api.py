"""`GET /v1/feed`: a page of events after a position, waiting for the first when there is none yet; where the feed stands; new histories."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from directory.feed import histories, store
from directory.feed.histories import FeedStatus
from directory.feed.marks import MARK_CHARS, NUMBERS_GAP, Claim
from directory.metrics import FEED_WAITERS
from directory.operations import Operation, Parameter
from directory.placement.answers import Reason
from directory.placement.core import FEED_PAGE_MAX, FEED_WAIT_MS_MAX, FeedPage
from directory.services import Services
from foundation.http import Caller, body_json, json_response, query_int
from foundation.problems import Code, refuse
from foundation.words import EPOCH_MAX, FeedSeq

DRAIN_CHECK_S = 0.5
"""A waiting poll looks this often whether the process is leaving."""


class NewHistoryRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`above_epoch`: the highest epoch that any fence or client is known to hold; the new history's are above it."""

    reason: Reason
    above_epoch: Annotated[int, Meta(ge=0, le=EPOCH_MAX - 2 * NUMBERS_GAP)] = 0


def operations(services: Services) -> list[Operation]:
    async def feed(request: Request, caller: Caller) -> Response:
        after = FeedSeq(query_int(request, "after", 0, low=0, high=EPOCH_MAX))
        limit = query_int(request, "limit", FEED_PAGE_MAX, low=1, high=FEED_PAGE_MAX)
        wait_ms = query_int(request, "wait_ms", 0, low=0, high=FEED_WAIT_MS_MAX)
        mark = _mark(request)
        page = await _page(services, after, limit, mark)
        # A head below the caller's position is news too: the database was restored from an older backup.
        if wait_ms and page.head == after and not page.anew:
            await _moved(services, after, wait_ms / 1000)
            page = await _page(services, after, limit, mark)
        return json_response(page)

    async def status(request: Request, caller: Caller) -> Response:
        return json_response(await histories.status(services.pool))

    async def begin(request: Request, caller: Caller) -> Response:
        asked = await body_json(request, NewHistoryRequest)
        began = await histories.begin(
            services.pool, above_epoch=asked.above_epoch, actor=caller.actor, reason=asked.reason
        )
        services.commits.committed(began)
        return json_response(await histories.status(services.pool), 201)

    return [
        Operation(
            method="GET",
            path="/v1/feed",
            name="feed",
            summary="Events after a position: dense, in commit order",
            roles=("resolver", "operator"),
            handler=feed,
            parameters=(
                Parameter(
                    name="after", schema={"type": "integer", "minimum": 0}, description="position; 0 = the start"
                ),
                Parameter(
                    name="limit",
                    schema={"type": "integer", "minimum": 1, "maximum": FEED_PAGE_MAX},
                    description="events at most",
                ),
                Parameter(
                    name="wait_ms",
                    schema={"type": "integer", "minimum": 0, "maximum": FEED_WAIT_MS_MAX},
                    description="how long to wait for the first event",
                ),
                Parameter(
                    name="mark",
                    schema={"type": "string", "minLength": MARK_CHARS, "maxLength": MARK_CHARS},
                    description="the mark of the event at `after`, which proves what has been taken in",
                ),
            ),
            answers={200: FeedPage},
        ),
        Operation(
            method="GET",
            path="/v1/feed/status",
            name="feedStatus",
            summary="Where the feed stands, how far back it can be followed, and its histories",
            roles=("resolver", "operator"),
            handler=status,
            answers={200: FeedStatus},
        ),
        Operation(
            method="POST",
            path="/v1/feed/histories",
            name="beginHistory",
            summary="Begin a new history after a restoration: numbers and epochs jump, every client drops what it holds and begins anew",
            roles=("operator",),
            handler=begin,
            body=NewHistoryRequest,
            answers={201: FeedStatus},
        ),
    ]


def _mark(request: Request) -> str:
    text = request.query_params.get("mark", "")
    if text and (len(text) != MARK_CHARS or not text.isascii()):
        raise refuse(Code.BAD_REQUEST, f"a mark has {MARK_CHARS} characters")
    return text


async def _page(services: Services, after: FeedSeq, limit: int, mark: str) -> store.RawFeedPage:
    """What this position is told. Where its mark proves that this database has lost events, a new history has begun first."""
    found = await store.page(services.pool, after, limit, mark=mark)
    if found.claim is Claim.LOST:
        await histories.begin_if_lost(services.pool, after, mark)
        found = await store.page(services.pool, after, limit, mark=mark)
    return found.page


async def _moved(services: Services, after: FeedSeq, wait_s: float) -> None:
    """Until the head is beyond `after`, the wait ran out, or the process begins to leave."""
    FEED_WAITERS.inc()
    try:
        deadline = services.clock.monotonic_s() + wait_s
        while not services.drain.begun:
            left = deadline - services.clock.monotonic_s()
            if left <= 0 or services.commits.full or await services.commits.beyond(after, min(left, DRAIN_CHECK_S)):
                return
    finally:
        FEED_WAITERS.dec()
