"""Many callers at once, as they do it who use the product: so many under way, and whoever is told to come again (503) does."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import httpx

AT_ONCE = 32
"""Under way together: more than the directory's sessions, so that some wait."""
AGAIN = 50
AGAIN_S = 0.1

Ask = Callable[[], Awaitable[httpx.Response]]


async def race(asks: Sequence[Ask], *, at_once: int = AT_ONCE) -> list[httpx.Response]:
    """The answers, in the order of `asks`."""
    places = asyncio.Semaphore(at_once)

    async def one(ask: Ask) -> httpx.Response:
        async with places:
            answer = await ask()
            for _ in range(AGAIN):
                if answer.status_code != 503:
                    break
                await asyncio.sleep(AGAIN_S)
                answer = await ask()
            return answer

    return list(await asyncio.gather(*(one(ask) for ask in asks)))


async def race_of_two(asks: Sequence[Ask]) -> list[httpx.Response]:
    """The same, one of the first half and one of the second in turn, as of two cells."""
    half = len(asks) // 2
    mixed = [at for pair in zip(range(half), range(half, len(asks)), strict=True) for at in pair]
    answers = dict(zip(mixed, await race([asks[at] for at in mixed]), strict=True))
    return [answers[at] for at in range(len(asks))]
