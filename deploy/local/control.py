"""The supervisor's control channel: loopback TCP, one JSON line each way, opened by a token that lies in `secrets/`.

TCP because a Unix socket's path may be 107 bytes long and state folders are deeper than that.
"""

import asyncio
import hmac
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec

from deploy.local import lock
from deploy.local.layout import Paths
from foundation.mute import Secret
from foundation.settings import SettingsError

LINE_BYTES_MAX = 1 << 16
READ_S_MAX = 5.0
ANSWER_S_MAX = 90.0


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request. `name` is a process, or a pattern of several."""

    token: str
    op: Literal["status", "start", "stop", "down"]
    name: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`error` is None when it was done; `value` is stack.json's document for `status`, the names for `start` and `stop`."""

    error: str | None = None
    value: Any = None


Handler = Callable[[Command], Awaitable[Answer]]
_decoder = msgspec.json.Decoder(Command)


@asynccontextmanager
async def listening(port: int, token: Secret[str], handle: Handler) -> AsyncIterator[None]:
    """Answers commands while the block runs. Raises OSError when the port is taken."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await _answer(reader, token, handle)
            writer.write(msgspec.json.encode(answer) + b"\n")
            async with asyncio.timeout(READ_S_MAX):
                await writer.drain()
        except (OSError, TimeoutError):
            pass  # the caller has gone; nobody is left to tell
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port, limit=LINE_BYTES_MAX)
    try:
        yield
    finally:
        server.close()


async def _answer(reader: asyncio.StreamReader, token: Secret[str], handle: Handler) -> Answer:
    try:
        async with asyncio.timeout(READ_S_MAX):
            line = await reader.readline()
        command = _decoder.decode(line)
    except (ValueError, msgspec.MsgspecError, TimeoutError):
        return Answer(error="the command is malformed")
    if not hmac.compare_digest(command.token.encode(), token.reveal().encode()):
        return Answer(error="the token is wrong")
    return await handle(command)


class NoSupervisor(SettingsError):
    """Nobody answers on the control channel."""


def ask(paths: Paths, op: Literal["status", "start", "stop", "down"], name: str = "") -> Any:
    """Sends one command to the running supervisor and returns its value. Raises NoSupervisor, SettingsError."""
    if not lock.is_held(paths.lock):  # else whoever has the port now would be shown the token
        raise NoSupervisor(f"no stack runs in {paths.state}; start it with `domicile up`")
    try:
        token = paths.control_token.read_text(encoding="ascii").strip()
        port = int(msgspec.json.decode(paths.stack.read_bytes())["control"]["port"])
    except (OSError, KeyError, ValueError) as exc:
        raise NoSupervisor(f"no stack runs in {paths.state}; start it with `domicile up`") from exc
    try:
        raw = _exchange(port, msgspec.json.encode(Command(token=token, op=op, name=name)))
        answer = msgspec.json.decode(raw, type=Answer)
    except (OSError, msgspec.MsgspecError) as exc:
        raise NoSupervisor(f"no stack runs in {paths.state}; start it with `domicile up`") from exc
    if answer.error is not None:
        raise SettingsError(answer.error)
    return answer.value


def _exchange(port: int, line: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=READ_S_MAX) as connection:
        connection.settimeout(ANSWER_S_MAX)
        connection.sendall(line + b"\n")
        with connection.makefile("rb") as answers:
            return answers.readline(1 << 20)
