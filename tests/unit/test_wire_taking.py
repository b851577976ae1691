"""Who takes nothing of what was written for it is cut off; who takes a little each time is not."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from foundation.wire.taking import TAKEN_S_MAX, Taking
from tests.stands.memory_wire import Loop


class Buffered(asyncio.Transport):
    """A transport that holds `left` bytes."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.left

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def loop() -> Iterator[Loop]:
    with contextlib.closing(Loop()) as loop:
        yield loop


def test_who_takes_nothing_is_cut_off(loop: Loop) -> None:
    transport = Buffered(1_000)
    Taking(transport, loop).waits()
    loop.go_on(TAKEN_S_MAX - 1)
    assert not transport.aborted
    loop.go_on(2)
    assert transport.aborted


def test_who_takes_a_little_each_time_is_not(loop: Loop) -> None:
    transport = Buffered(1_000)
    Taking(transport, loop).waits()
    for _ in range(10):
        transport.left -= 1
        loop.go_on(TAKEN_S_MAX)
        assert not transport.aborted
    loop.go_on(TAKEN_S_MAX + 1)
    assert transport.aborted


@pytest.mark.parametrize("ends", ["taken", "lost"])
def test_nobody_is_watched_once_all_was_taken_or_nobody_is_there(loop: Loop, ends: str) -> None:
    transport = Buffered(1_000)
    taking = Taking(transport, loop)
    taking.waits()
    getattr(taking, ends)()
    loop.go_on(3 * TAKEN_S_MAX)
    assert not transport.aborted


def test_each_wait_is_a_new_one(loop: Loop) -> None:
    transport = Buffered(1_000)
    taking = Taking(transport, loop)
    for _ in range(5):
        taking.waits()
        loop.go_on(TAKEN_S_MAX - 1)
        taking.taken()
        loop.go_on(TAKEN_S_MAX)
    assert not transport.aborted
