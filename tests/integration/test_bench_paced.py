"""The open load of the benches, against servers of bytes on real sockets."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from load_tests.bench.peers.load import Failed
from load_tests.bench.peers.paced import opened

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
Answering = Callable[[socket.socket, int], None]


@contextmanager
def server(answering: Answering) -> Iterator[int]:
    """Its port. `answering`: to a connection's requests, each with how many came on it before."""
    listening = socket.create_server(("127.0.0.1", 0))

    def connection(one: socket.socket) -> None:
        with one:
            number = 0
            while one.recv(65_536):
                answering(one, number)
                number += 1

    def accepting() -> None:
        while True:
            try:
                one, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=connection, args=(one,), daemon=True).start()

    thread = threading.Thread(target=accepting, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)


def load(port: int, *, rate: float = 500.0, seconds: float = 0.2, connections: int = 4, answer: int = 2) -> list[float]:
    return opened(port, (REQUEST,), rate=rate, seconds=seconds, connections=connections, answer=answer)


def test_every_request_is_asked_and_timed_over_the_connections_that_there_are() -> None:
    numbers = list[int]()

    def answering(one: socket.socket, number: int) -> None:
        numbers.append(number)
        one.sendall(OK)

    with server(answering) as port:
        took = load(port)
    assert (len(took), len(numbers), numbers.count(0)) == (100, 100, 4)
    assert min(took) > 0


def test_an_answer_may_come_in_pieces() -> None:
    def pieces(one: socket.socket, _: int) -> None:
        one.sendall(OK[:20])
        time.sleep(0.002)
        one.sendall(OK[20:])

    with server(pieces) as port:
        assert len(load(port, rate=100)) == 20


def test_waiting_for_a_free_connection_counts() -> None:
    def slowly(one: socket.socket, _: int) -> None:
        time.sleep(0.02)
        one.sendall(OK)

    with server(slowly) as port:  # 20 are due within 20 ms, and each takes as long as that
        took = load(port, rate=1_000, seconds=0.02, connections=1)
    assert max(took) > 20 * 20 - 20 - 1
    assert took == sorted(took)


def test_a_connection_that_was_to_be_the_last_is_opened_anew() -> None:
    def last(one: socket.socket, number: int) -> None:
        assert number == 0
        one.sendall(LAST)
        one.shutdown(socket.SHUT_RDWR)

    with server(last) as port:
        assert len(load(port)) == 100


@pytest.mark.parametrize(
    ("answering", "said"),
    [
        (lambda one, _: one.shutdown(socket.SHUT_RDWR), "closed a connection under way"),
        (lambda one, _: one.sendall(OK.replace(b"200", b"503")), "answered 503 with 2 bytes"),
        (lambda one, _: one.sendall(OK.replace(b"2\r\n\r\nok", b"1\r\n\r\no")), "answered 200 with 1 bytes"),
    ],
)
def test_another_answer_ends_the_run_by_name(answering: Answering, said: str) -> None:
    with server(answering) as port, pytest.raises(Failed, match=said):
        load(port)
