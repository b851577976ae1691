"""`GET /v1/feed`: a page of events after a position, waiting for the first when there is none yet."""

from starlette.requests import Request
from starlette.responses import Response

from directory.feed import store
from directory.metrics import FEED_WAITERS
from directory.operations import Operation, Parameter
from directory.placement.core import FEED_PAGE_MAX, FEED_WAIT_MS_MAX, FeedPage
from directory.services import Services
from foundation.http import Caller, json_response, query_int
from foundation.words import EPOCH_MAX, FeedSeq

DRAIN_CHECK_S = 0.5
"""A waiting poll looks this often whether the process is leaving."""


def operations(services: Services) -> list[Operation]:
    async def feed(request: Request, caller: Caller) -> Response:
        after = FeedSeq(query_int(request, "after", 0, low=0, high=EPOCH_MAX))
        limit = query_int(request, "limit", FEED_PAGE_MAX, low=1, high=FEED_PAGE_MAX)
        wait_ms = query_int(request, "wait_ms", 0, low=0, high=FEED_WAIT_MS_MAX)
        page = await store.page(services.pool, after, limit)
        # A head below the caller's position is news too: the database was restored from an older backup.
        if wait_ms and page.head == after:
            await _moved(services, after, wait_ms / 1000)
            page = await store.page(services.pool, after, limit)
        return json_response(page)

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
            ),
            answers={200: FeedPage},
        )
    ]


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
