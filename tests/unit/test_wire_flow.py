"""How often it is looked whether a client of TLS has taken what was written."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from foundation.wire.flow import LOOK_S_MAX, LOOKS, closed_once_taken
from gateway.edge.tunnel import Tunnel
from gateway.settings import Websockets
from tests.stands.memory_wire import Loop


class Holding(asyncio.Transport):
    """A transport of TLS that holds `left` bytes, above a connection that takes more. `looks`: how often it was asked."""

    def __init__(self, connection: socket.socket, left: int = 1) -> None:
        super().__init__()
        self._connection = connection
        self.left = left
        self.looks = 0
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._connection if name == "socket" else default

    def get_write_buffer_size(self) -> int:
        self.looks += 1
        return self.left

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


@pytest.fixture
def loop() -> Iterator[Loop]:
    with contextlib.closing(Loop()) as loop:
        yield loop


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


def test_who_takes_nothing_is_looked_at_ever_less_often_and_closed_soon_after_all_was_taken(
    loop: Loop, connection: socket.socket
) -> None:
    transport = Holding(connection)
    closing = loop.create_task(closed_once_taken(transport))
    loop.go_on(60)
    assert transport.looks < 60
    assert not transport.closed
    transport.left = 0
    loop.go_on(2 * LOOK_S_MAX)
    assert transport.closed
    assert closing.done()


def test_what_was_taken_at_once_is_closed_at_once(loop: Loop, connection: socket.socket) -> None:
    transport = Holding(connection, left=0)
    closing = loop.create_task(closed_once_taken(transport))
    loop.go_on(0.1)
    assert (transport.closed, transport.looks, closing.done()) == (True, LOOKS, True)


def test_a_tunnel_waits_for_both_sides_and_for_neither_once_it_is_over(loop: Loop, connection: socket.socket) -> None:
    tunnel, sides = Tunnel(loop, Websockets()), [Holding(connection), Holding(connection)]
    for side in sides:
        tunnel.close_once_taken(side)
    loop.go_on(1)
    assert [side.closed for side in sides] == [False, False]
    tunnel.abort()
    loop.go_on(1)
    assert [side.closed for side in sides] == [True, True]
    assert not asyncio.all_tasks(loop)
