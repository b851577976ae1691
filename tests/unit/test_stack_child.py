"""A child's waits, and that no wait of ours can lose a cancellation."""

import asyncio
import re
from pathlib import Path

import pytest

from deploy.local.child import Child, Spec
from deploy.local.layout import ProcessName
from foundation.clock import SystemClock

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
PACKAGES = ("cells", "deploy", "directory", "foundation", "gateway", "load_tests", "routing_rules")


async def _never() -> str | None:
    return None


def _child() -> Child:
    spec = Spec(name=ProcessName("valkey-eu"), command=("true",), port=1, log=Path("/dev/null"), probe=_never)
    return Child(spec, SystemClock(), lambda: None)


@pytest.mark.parametrize("turns", range(4))
async def test_a_pause_that_ends_just_as_it_is_cancelled_is_cancelled(turns: int) -> None:
    """Else the child's task would live on after its stack told it to end, and the stack would wait for it for ever."""
    child = _child()
    pausing = asyncio.get_running_loop().create_task(child._pause())
    await asyncio.sleep(0.01)
    child._poked.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    if not pausing.done():
        pausing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pausing


def test_no_wait_goes_through_what_may_swallow_a_cancellation() -> None:
    """asyncio.wait_for of Python 3.11 returns the result when a cancellation comes as the inner wait ends; asyncio.timeout does not."""
    users = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if re.search(r"asyncio\.wait_for\(|import wait_for", path.read_text(encoding="utf-8"))
    ]
    assert users == []
