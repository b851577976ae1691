"""The shares of the population that decoys are drawn by, as the directory tells them to every gateway."""

import asyncio

import msgspec

from directory.aliases.answers import PopulationAnswer
from directory.client.remote import DirectoryUnavailable, HttpDirectory
from foundation import logs
from foundation.tasks import Backoff
from foundation.words import CellId

log = logs.get(__name__)

EVERY_S = 30.0
ANSWER_S_MAX = 2.0


class Population:
    """`shares` is None before the first answer, and stays what it was while the directory is dark."""

    def __init__(self, directory: HttpDirectory) -> None:
        self._directory = directory
        self.shares: dict[CellId, float] | None = None

    async def follow(self) -> None:
        """For ever."""
        backoff = Backoff(first_s=0.2, max_s=5.0)
        while True:
            try:
                self.shares = await self._ask()
                backoff.reset()
                await asyncio.sleep(EVERY_S)
            except DirectoryUnavailable as exc:
                log.warning("population_unavailable", reason=exc.reason)
                await asyncio.sleep(backoff.next_s())

    async def _ask(self) -> dict[CellId, float]:
        response = await self._directory.send("GET", "/v1/aliases/population", timeout_s=ANSWER_S_MAX)
        if response.status_code != 200:
            raise DirectoryUnavailable(f"status-{response.status_code}")
        try:
            return msgspec.json.decode(response.content, type=PopulationAnswer).weights
        except msgspec.MsgspecError as exc:
            raise DirectoryUnavailable("malformed") from exc
