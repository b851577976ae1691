"""How far this machine's clock is from the directory's, as far as a `Date` header tells (RFC 9110 section 6.6.1)."""

import asyncio
from email.utils import parsedate_to_datetime

import httpx

from foundation import logs
from foundation.clock import SKEW_S_MAX, Clock
from foundation.http import HttpClient
from foundation.problems import Code, Problem

log = logs.get(__name__)

EVERY_S = 5.0
_DATE_RESOLUTION_S = 2.0
"""A second of resolution, and servers that render the field once a second."""


def skew_s(date: str, asked_at: float, answered_at: float) -> float | None:
    """The least disagreement, in seconds, that explains a `Date` seen between two readings of our clock; None if it is no date."""
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return None
    return max(0.0, theirs - answered_at, asked_at - (theirs + _DATE_RESOLUTION_S))


class Skew:
    """Watches the disagreement; `problem` when it is beyond the one bound."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._skew_s = 0.0

    async def watch(self, directory: HttpClient) -> None:
        """Asks every few seconds; a directory that does not answer changes nothing. Runs until cancelled."""
        while True:
            asked_at = self._clock.unix_s()
            try:
                response = await directory.get("/healthz")
            except (httpx.HTTPError, OSError):
                response = None
            if response is not None:
                self.take(response.headers.get("date", ""), asked_at)
            await asyncio.sleep(EVERY_S)

    def take(self, date: str, asked_at: float) -> None:
        found = skew_s(date, asked_at, self._clock.unix_s())
        if found is None:
            return
        if found > SKEW_S_MAX:
            log.error("clock_skew", age_s=round(found, 1))
        self._skew_s = found

    def problem(self) -> Problem | None:
        if self._skew_s <= SKEW_S_MAX:
            return None
        return Problem(code=Code.NOT_READY, detail="this machine's clock and the directory's disagree", retry_after_s=5)
