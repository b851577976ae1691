"""The open load: requests come at a constant rate, whatever became of those before.

A loop of its own over bare sockets, since a loop's timers count in milliseconds: at ten thousand a second these would let ten requests come
together each time, and what they then wait for each other would be told as the proxy's.
"""

import itertools
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence

import httptools

from load_tests.bench.peers.load import Failed

ENDS_S_MAX = 30.0
"""How long the last answers may take."""
RECEIVED_BYTES = 65_536


class _Connection:
    """Asks one request at a time. Raises Failed and OSError. `answer`: bytes of each answer's body."""

    def __init__(self, port: int, answer: int) -> None:
        self._port = port
        self._answer = answer
        self._due = 0.0
        self._came = 0
        self._whole = self._lasts = True
        self._open()

    def _open(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self._port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._parser = httptools.HttpResponseParser(self)

    def fileno(self) -> int:
        return self.socket.fileno()

    def ask(self, request: bytes, due: float) -> None:
        self._due, self._came, self._whole = due, 0, False
        if self.socket.send(request) != len(request):
            raise Failed("a request did not fit into its connection")

    def on_body(self, piece: bytes) -> None:
        self._came += len(piece)

    def on_message_complete(self) -> None:
        self._whole, self._lasts = True, self._parser.should_keep_alive()  # which it knows just now alone

    def received(self) -> float | None:
        """Milliseconds from when the request was due, once its answer is whole."""
        data = self.socket.recv(RECEIVED_BYTES)
        if not data or self._whole:
            raise Failed("closed a connection under way" if not data else "answered what was not asked")
        self._parser.feed_data(data)
        if not self._whole:
            return None
        took = (time.perf_counter() - self._due) * 1e3
        if (status := self._parser.get_status_code()) != 200 or self._came != self._answer:
            raise Failed(f"answered {status} with {self._came} bytes")
        return took

    def renewed(self) -> bool:
        """Whether the answer was its connection's last (RFC 9112 section 9.6), which is then opened anew."""
        if self._lasts:
            return False
        self.close()
        self._open()
        return True

    def close(self) -> None:
        self.socket.close()


def opened(
    port: int, requests: Sequence[bytes], *, rate: float, seconds: float, connections: int, answer: int
) -> list[float]:
    """Milliseconds from when each request was due to its whole answer, at `rate` a second; waiting for a free connection counts. Blocks.
    Raises Failed on any answer but a 200 of `answer` bytes or on none, and OSError where a connection is refused."""
    every = list[_Connection]()
    try:
        for _ in range(connections):
            every.append(_Connection(port, answer))
        return _asked(every, itertools.cycle(requests), rate, int(rate * seconds))
    finally:
        for one in every:
            one.close()


def _asked(every: Sequence[_Connection], requests: Iterator[bytes], rate: float, count: int) -> list[float]:
    clock, took, free, by_number = time.perf_counter, list[float](), deque(every), dict[int, _Connection]()
    with select.epoll() as ready:
        for one in every:
            _watch(ready, by_number, one)
        sent, began = 0, clock() + 0.05
        ends = began + count / rate + ENDS_S_MAX
        while len(took) < count:
            while sent < count and free and (due := began + sent / rate) <= clock():
                free.popleft().ask(next(requests), due)
                sent += 1
            until = began + sent / rate if sent < count and free else ends
            select.select((ready,), (), (), max(0.0, until - clock()))  # epoll's own timer counts in milliseconds
            for number, _ in ready.poll(0):
                one = by_number[number]
                if (waited := one.received()) is not None:
                    took.append(waited)
                    free.append(one)
                    if one.renewed():
                        _watch(ready, by_number, one)
            if clock() > ends:
                raise Failed(f"{count - len(took)} answers did not come within {ENDS_S_MAX:g} s")
    return took


def _watch(ready: select.epoll, by_number: dict[int, _Connection], one: _Connection) -> None:
    by_number[one.fileno()] = one
    ready.register(one.fileno(), select.EPOLLIN)
