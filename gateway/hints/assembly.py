"""Puts sign-in hints together from settings; opens the counter's connection."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from directory.client.remote import HttpDirectory
from foundation.blinding import Blinder, BlindingKey
from foundation.clock import Clock
from foundation.mute import Secret
from foundation.rates import per_minute
from foundation.settings import SettingsError, read_keyring
from gateway.edge.desk import Desk
from gateway.hints.api import Asked, Hints, times_of
from gateway.hints.limiter import Limiter, valkey_counter
from gateway.hints.population import Population
from gateway.identity.address import Network
from gateway.settings import HintSettings

ANSWER_MS = range(20, 5_001)
PER_MINUTE = range(1, 60_001)


@asynccontextmanager
async def hints(
    settings: HintSettings,
    *,
    valkey: Secret[str],
    directory: HttpDirectory,
    desk: Desk,
    homes: Asked,
    blinder: Callable[[], Blinder],
    proxies: tuple[Network, ...],
    clock: Clock,
) -> AsyncIterator[tuple[Hints, Population]]:
    """The handler, and the follower to be run as a worker. Raises SettingsError."""
    drawing = _checked(settings)
    population = Population(directory)
    async with valkey_counter(valkey) as counter:
        yield (
            Hints(
                book=desk.open_book,
                blinder=blinder,
                drawing=drawing,
                homes=homes,
                shares=lambda: population.shares,
                limits=Limiter(counter, clock),
                proxies=proxies,
                clock=clock,
                times=times_of(settings.answer_ms),
                per_address=per_minute(settings.per_address_minute),
                per_key=per_minute(settings.per_key_minute),
            ),
            population,
        )


def _checked(settings: HintSettings) -> Blinder:
    """What decoys are drawn by: the keyring's current key alone, since a decoy stays what it is."""
    if settings.answer_ms not in ANSWER_MS:
        raise SettingsError(f"hints.answer_ms is a number from {ANSWER_MS[0]} to {ANSWER_MS[-1]}")
    if settings.per_address_minute not in PER_MINUTE or settings.per_key_minute not in PER_MINUTE:
        raise SettingsError(f"hints.per_…_minute is a number from {PER_MINUTE[0]} to {PER_MINUTE[-1]}")
    kid, key = read_keyring(settings.keyring)[0]
    try:
        return Blinder((BlindingKey(kid, key),))
    except ValueError as exc:
        raise SettingsError(f"hints.keyring {settings.keyring}: {exc}") from exc
