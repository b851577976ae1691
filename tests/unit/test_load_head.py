"""Only the head of a request, over a real socket of loopback: with TLS where the gateway has it, and to nobody unknown."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from load_tests.scenarios.steps import Ask
from load_tests.swarm.head import authorities, send_head
from tests.stands.certificates import Authority

BODY = b'{"code":"residency_refused"}'
REFUSED = b"HTTP/1.1 451 x\r\nDomicile-Verdict: refuse\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
HANDSHAKE = b"\x16"
"""How a client of TLS begins (RFC 8446 section 5.1)."""
WAIT_S = 20.0


class Gateway(NamedTuple):
    url: str
    came: "Future[bytes]"
    """All that a client sent before it was answered."""


@contextlib.contextmanager
def gateway(tls: ssl.SSLContext | None, answer: bytes = REFUSED) -> Iterator[Gateway]:
    """Takes one request."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(WAIT_S)
        scheme = "http" if tls is None else "https"
        yield Gateway(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", pool.submit(_take, listener, tls, answer))


def _take(listener: socket.socket, tls: ssl.SSLContext | None, answer: bytes) -> bytes:
    plain, _ = listener.accept()
    plain.settimeout(WAIT_S)
    came = b""
    with plain, contextlib.suppress(ssl.SSLError, ConnectionError):
        connection = plain if tls is None else tls.wrap_socket(plain, server_side=True)
        with connection:
            while not came.startswith(HANDSHAKE) and b"\r\n\r\n" not in came and (piece := connection.recv(65_536)):
                came += piece
            connection.sendall(answer)
    return came


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def served(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.sign("gateway"))
    return context


@pytest.fixture
def known(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The authority is one of this machine's."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    authorities.cache_clear()
    yield
    authorities.cache_clear()


def ask(url: str) -> Ask:
    return Ask(method="POST", url=f"{url}/orders", token="held back", head_only=True, wait_s=WAIT_S)


@pytest.mark.usefixtures("known")
def test_a_head_goes_to_a_gateway_with_tls_inside_it(served: ssl.SSLContext) -> None:
    with gateway(served) as one:
        answer = send_head(ask(one.url))
        came = one.came.result(WAIT_S)
    assert (answer.status, answer.code, answer.verdict, answer.whole) == (451, "residency_refused", "refuse", True)
    assert b"authorization: Bearer held back\r\n" in came
    assert came.startswith(b"POST /orders HTTP/1.1\r\n")


def test_no_token_goes_to_a_server_that_nobody_vouches_for(served: ssl.SSLContext) -> None:
    authorities.cache_clear()
    with gateway(served) as one:
        answer = send_head(ask(one.url))
        came = one.came.result(WAIT_S)
    assert (answer.status, answer.whole, came) == (0, False, b"")


@pytest.mark.usefixtures("known")
def test_no_token_goes_in_the_clear_to_a_gateway_that_should_have_tls() -> None:
    with gateway(None) as one:
        answer = send_head(ask(one.url.replace("http:", "https:")))
        came = one.came.result(WAIT_S)
    assert (answer.status, answer.whole) == (0, False)
    assert b"held back" not in came


def test_a_head_goes_in_the_clear_where_the_gateway_has_no_tls_and_tells_what_was_asked_for() -> None:
    with gateway(None, b"HTTP/1.1 100 Continue\r\n\r\n" + REFUSED) as one:
        answer = send_head(ask(one.url))
    assert (answer.status, answer.body_asked) == (451, True)


def test_a_gateway_that_cannot_be_reached_is_a_broken_connection_and_no_verdict_that_waits() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    answer = send_head(ask(f"http://127.0.0.1:{port}"))
    assert (answer.status, answer.whole) == (0, False)


@pytest.mark.parametrize(("scheme", "whole"), [("https", False), ("http", True)])
def test_only_silence_after_the_head_was_sent_is_a_verdict_that_waits(scheme: str, *, whole: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
        answer = send_head(msgspec.structs.replace(ask(url), wait_s=0.2))
    assert (answer.status, answer.whole) == (0, whole)
