"""Bounded, level-triggered waits."""

import time
from collections.abc import Callable

import anyio


def wait_for(check: Callable[[], bool], *, s_max: float = 30.0) -> None:
    """Polls a level (not an edge) until it holds."""
    deadline = time.monotonic() + s_max  # noqa: TID251
    while not check():
        if time.monotonic() > deadline:  # noqa: TID251
            raise TimeoutError("the condition did not come true in time")
        time.sleep(0.02)


async def eventually(check: Callable[[], object], *, s_max: float = 10.0) -> None:
    """The same for coroutines' tests: `check` returns truth or an awaitable of it."""
    with anyio.fail_after(s_max):
        while True:
            result = check()
            if hasattr(result, "__await__"):
                result = await result
            if result:
                return
            await anyio.sleep(0.02)
