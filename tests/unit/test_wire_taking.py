"""Who takes nothing of what was written for it is cut off; who takes a little each time is not."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from foundation.wire.taking import FIRST_LOOK, TAKEN_BYTES_MIN, TAKEN_S_MAX, Taking, acknowledged
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


class Above(Buffered):
    """The same above a connection of the system's, as a transport of TLS is: what it holds says nothing of that."""

    def __init__(self, left: int, connection: socket.socket) -> None:
        super().__init__(left)
        self._connection = connection

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._connection if name == "socket" else default


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection: the server's end, which takes as much as it can, and the client's."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), timeout=20) as client,
        listener.accept()[0] as server,
    ):
        server.setblocking(False)
        yield server, client


@pytest.fixture
def loop() -> Iterator[Loop]:
    with contextlib.closing(Loop()) as loop:
        yield loop


def test_who_takes_nothing_is_cut_off(loop: Loop) -> None:
    transport = Buffered(1_000)
    Taking(transport, loop).waits()
    loop.go_on(TAKEN_S_MAX - 1)
    assert not transport.aborted
    loop.go_on(2 + TAKEN_S_MAX * FIRST_LOOK)
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


def test_what_is_written_meanwhile_does_not_hide_what_was_taken(loop: Loop) -> None:
    transport = Buffered(1_000)
    Taking(transport, loop).waits()
    loop.go_on(TAKEN_S_MAX / 2)
    transport.left += 500  # another answer, less what was taken
    loop.go_on(TAKEN_S_MAX)
    assert not transport.aborted
    loop.go_on(TAKEN_S_MAX + 2)
    assert transport.aborted


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="this system does not say what was acknowledged")
def test_who_takes_some_of_what_lies_below_tls_is_not_cut_off_and_what_tls_itself_says_counts_for_nothing(
    loop: Loop, ends: tuple[socket.socket, socket.socket]
) -> None:
    server, client = ends
    transport = Above(1_000, server)

    def fill() -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                server.send(bytes(65_536))

    fill()
    Taking(transport, loop).waits()
    for _ in range(5):
        before = acknowledged(transport)
        while acknowledged(transport) < before + TAKEN_BYTES_MIN:
            client.recv(65_536)
        fill()
        loop.go_on(TAKEN_S_MAX)
        assert not transport.aborted
    for _ in range(3):
        transport.left += 30  # an alert, or the answer to one
        loop.go_on(TAKEN_S_MAX)
    assert transport.aborted


@pytest.mark.parametrize("how", ["taken", "lost"])
def test_nobody_is_watched_once_all_was_taken_or_nobody_is_there(loop: Loop, how: str) -> None:
    transport = Buffered(1_000)
    taking = Taking(transport, loop)
    taking.waits()
    getattr(taking, how)()
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
