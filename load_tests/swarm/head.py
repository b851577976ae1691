"""A request of which only the head is sent, over a socket of its own: no client library sends half a request."""

import functools
import socket
import ssl
from urllib.parse import SplitResult, urlsplit

import msgspec

from foundation.clock import SystemClock
from load_tests.scenarios.steps import Answer, Ask

HEAD_BODY_BYTES = 200_000
_PORTS = {"http": 80, "https": 443}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOCK = SystemClock()


def send_head(ask: Ask) -> Answer:
    """Only a request's head, announcing a body; waits for a verdict. `whole` says that the connection stood all the while.

    Where the body is offered (`Expect: 100-continue`), whoever begins to read it says so first (RFC 9110 section 10.1.1)."""
    at = _CLOCK.unix_s()
    where = urlsplit(ask.url)
    head = (
        f"{ask.method} {where.path} HTTP/1.1\r\nhost: {where.netloc}\r\nauthorization: Bearer {ask.token}\r\n"
        f"content-type: application/json\r\ncontent-length: {HEAD_BODY_BYTES}\r\n"
    )
    head += "".join(f"{name}: {value}\r\n" for name, value in ask.headers.items()) + "\r\n"
    try:
        connection = _connected(where, ask.wait_s)
    except OSError:
        return _parsed(b"", at, whole=False)
    raw, whole, asked = b"", True, False
    try:
        with connection:
            connection.sendall(head.encode("ascii"))
            while not _complete(raw):
                piece = connection.recv(65_536)
                if not piece:
                    whole = _complete(raw)
                    break
                raw += piece
                asked, raw = (True, raw[len(_CONTINUE) :]) if raw.startswith(_CONTINUE) else (asked, raw)
    except TimeoutError:
        pass
    except OSError:
        whole = False
    return msgspec.structs.replace(_parsed(raw, at, whole=whole), body_asked=asked)


def _connected(where: SplitResult, wait_s: float) -> socket.socket:
    """With TLS, and the server's name checked, where the scheme is https: before that nothing is sent. Raises OSError."""
    address = (where.hostname or "", where.port or _PORTS[where.scheme])
    plain = socket.create_connection(address, timeout=wait_s)
    if where.scheme == "http":
        return plain
    try:
        return authorities().wrap_socket(plain, server_hostname=where.hostname)
    except OSError:
        plain.close()
        raise


@functools.cache
def authorities() -> ssl.SSLContext:
    """Those of this machine (or of `SSL_CERT_FILE`), as for everything else that locust's users send."""
    return ssl.create_default_context()


def _complete(raw: bytes) -> bool:
    head, ended, body = raw.partition(b"\r\n\r\n")
    if not ended:
        return False
    sizes = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return len(body) >= (sizes[0] if sizes else 0)


def _parsed(raw: bytes, at: float, *, whole: bool) -> Answer:
    head, ended, body = raw.partition(b"\r\n\r\n")
    first, *fields = head.decode("latin-1").split("\r\n")
    status = int(first.split(" ")[1]) if ended and first.startswith("HTTP/1.1 ") else 0
    pairs = (field.partition(":") for field in fields)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Answer(at=at, ms=(_CLOCK.unix_s() - at) * 1000, status=status, headers=headers, body=body, whole=whole)
