"""The little HTTP that the supervisor speaks with its own children: one request a connection, on loopback, bounded."""

import asyncio
import contextlib

import msgspec

ANSWER_BYTES_MAX = 1 << 20


class HttpAnswer(msgspec.Struct, frozen=True):
    status: int
    body: bytes


class NoAnswer(Exception):
    """The process refused the connection, broke off, or took too long."""


async def request(
    port: int, method: str, path: str, *, headers: dict[str, str] | None = None, body: bytes = b"", s_max: float = 5.0
) -> HttpAnswer:
    """One HTTP/1.1 request with `Connection: close`. Raises NoAnswer."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines += [f"Content-Length: {len(body)}"] if body else []
    raw = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body
    try:
        async with asyncio.timeout(s_max):
            return _parse(await _exchange(port, raw))
    except (OSError, TimeoutError, ValueError, IndexError) as exc:
        raise NoAnswer(type(exc).__name__) from exc


async def _exchange(port: int, raw: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        chunks: list[bytes] = []
        size = 0
        while chunk := await reader.read(1 << 16):
            size += len(chunk)
            if size > ANSWER_BYTES_MAX:
                raise ValueError("the answer is too long")
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        writer.close()


def _parse(raw: bytes) -> HttpAnswer:
    """Status and body of an answer that ends with its connection; our own servers send a length, never chunks, to such requests."""
    head, _, body = raw.partition(b"\r\n\r\n")
    return HttpAnswer(status=int(head.split(b" ", 2)[1]), body=body)


async def accepts(port: int, *, s_max: float = 1.0) -> bool:
    """Whether something listens on the port."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(s_max):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return False


def detail_of(answer: HttpAnswer) -> str:
    """A problem document's detail and mistakes in one line, or the status."""
    try:
        document = msgspec.json.decode(answer.body, type=dict)
    except msgspec.MsgspecError:
        return f"status {answer.status}"
    mistakes = document.get("mistakes") or document.get("errors") or []
    return "; ".join([str(document.get("detail", f"status {answer.status}")), *(str(each) for each in mistakes)])
