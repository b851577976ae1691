"""One process of a crew waits for its parent's word, and for no clock of its own."""

import asyncio
import socket

import pytest

from foundation.crew.channel import Channel, Leave, Leaving, Over, Told, to_a_process, to_the_parent
from foundation.crew.seat import Seat

A_DAY_S = 86_400.0


class Ahead(asyncio.SelectorEventLoop):
    """A loop whose time goes by when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s


async def waited_a_day(told: Leave | Over) -> tuple[bool, bool]:
    """Whether a process that was told to end leaves within a day, and whether it does once its parent has `told` it something."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Ahead)
    ours, theirs = socket.socketpair()
    listener = socket.socket()
    for each in (ours, theirs):
        each.setblocking(False)
    parent: Channel[Told] = await to_a_process(ours)
    said = await to_the_parent(theirs)
    seat = Seat(1, listener, said, asyncio.Event(), lambda: None)
    heeding, leaving = loop.create_task(seat.heed()), loop.create_task(seat.may_leave())
    try:
        assert isinstance(await parent.hear(), Leaving)
        loop.ahead_s += A_DAY_S
        await turns()
        by_itself = leaving.done()
        parent.say(told)
        await asyncio.wait_for(seat.relieved.wait() if isinstance(told, Leave) else leaving, 10)
        await turns()
        return by_itself, leaving.done()
    finally:
        leaving.cancel()
        heeding.cancel()
        parent.close()
        said.close()
        listener.close()
        await asyncio.gather(leaving, heeding, return_exceptions=True)


async def turns() -> None:
    """Enough for whatever is due to happen, and for what follows from it."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("told", "leaves"), [(Over(), True), (Leave(), False)], ids=["nobody comes", "succeeded"])
def test_who_is_told_to_end_serves_until_the_parent_says_more_however_long_that_takes(
    told: Leave | Over, leaves: bool
) -> None:
    """With a successor it is `relieved` that ends it, once its connections have."""
    with asyncio.Runner(loop_factory=Ahead) as runner:
        assert runner.run(waited_a_day(told)) == (False, leaves)
