"""Puts a guard together from a service's settings: verifier, way to the cell, epochs and lease."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.types import ASGIApp

from cells.guard.client import CellService
from cells.guard.middleware import Guard
from cells.guard.worker import EpochKeeper
from foundation.clock import Clock, SystemClock
from foundation.decision_header import ServiceVerifier
from foundation.http import Observed, client
from foundation.settings import read_keyring
from foundation.tokens import TokenFile
from foundation.words import CellId, ServiceId

CALL_S_MAX = 10.0
"""A sign-up waits for its placement, hence longer than control traffic usually may."""


class Guarding:
    """What a product service needs of its cell. Run `keeper.follow` beside the server: without it every request is refused."""

    def __init__(self, *, cell: CellService, keeper: EpochKeeper, verifier: ServiceVerifier, clock: Clock) -> None:
        self.cell = cell
        self.keeper = keeper
        self._verifier = verifier
        self._clock = clock

    def guard(self, app: ASGIApp, *, anonymous: Iterable[str] = (), signup: Iterable[str] = ()) -> ASGIApp:
        """`app` behind a guard; both kinds of paths are exact. What the guard refuses counts in the request metrics too."""
        guard = Guard(
            app,
            verifier=self._verifier,
            keeper=self.keeper,
            clock=self._clock,
            anonymous=anonymous,
            signup=signup,
        )
        return Observed(guard)


@asynccontextmanager
async def guarding(
    *, cell: CellId, service: ServiceId, cell_service: str, token_file: Path, decision_keyring: Path
) -> AsyncIterator[Guarding]:
    """For as long as the service runs. `cell_service` is a URL; both files are secrets of mode 0600. Raises SettingsError."""
    clock = SystemClock()
    verifier = ServiceVerifier(cell, service, dict(read_keyring(decision_keyring)))
    async with client(cell_service, token=TokenFile(token_file), total_s=CALL_S_MAX) as http:
        calls = CellService(http, verifier, clock)
        keeper = EpochKeeper(calls, clock)
        try:
            yield Guarding(cell=calls, keeper=keeper, verifier=verifier, clock=clock)
        finally:
            await keeper.aclose()
