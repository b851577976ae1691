"""The exports of a process's log, side by side: each with its own connection, waits and position, and an entry that says it began."""

import asyncio
import importlib.metadata
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx

from foundation import logs
from foundation.http import client
from foundation.ledger.export.following import Follower
from foundation.ledger.export.forms import Form
from foundation.ledger.export.settings import ExportSettings
from foundation.ledger.export.sinks import POST_S_MAX, FileSink, HttpSink, Sink
from foundation.ledger.notes import Verifier
from foundation.problems import ProblemError
from foundation.tasks import Backoff
from foundation.tokens import TokenFile

log = logs.get(__name__)

POSITIONS = "export"
"""The folder beside a log's files in which positions of HTTP sinks lie. It is not served."""
CONNECT_S_MAX = 5.0

Announce = Callable[[dict[str, Any]], Awaitable[None]]
"""Has the beginning of an export recorded, durably on return. Raises ProblemError when that cannot be had."""


async def export(folder: Path, verifier: Verifier, exports: Sequence[ExportSettings], announce: Announce) -> None:
    """For ever. Raises nothing that a sink or the log can cause."""
    async with AsyncExitStack() as opened, asyncio.TaskGroup() as group:
        for one in exports:
            sink = await _sink(one, folder, verifier.name, opened)
            form = Form(one.format, one.payloads, verifier.name, importlib.metadata.version("domicile"))
            follower = Follower(one.name, folder, verifier, form, sink, since=one.since)
            group.create_task(_run(one, follower, announce), name=f"ledger export {one.name}")
        # Without any there is nothing to do, which is no reason to end.
        await asyncio.Event().wait()


async def _run(one: ExportSettings, follower: Follower, announce: Announce) -> None:
    """Nothing is given out before it stands in the outbox that it will be."""
    backoff = Backoff(first_s=0.5, max_s=10.0)
    while True:
        try:
            await announce(described(one))
            break
        except ProblemError as exc:
            log.warning("ledger_export_held_up", source=one.name, error=exc.problem.code.value)
            await asyncio.sleep(backoff.next_s())
    await follower.run()


def described(one: ExportSettings) -> dict[str, Any]:
    """What the log says of an export when it begins. What follows a URL's path may be a secret."""
    to = str(httpx.URL(one.url).copy_with(query=None)) if one.url else one.file
    return {"export": one.name, "to": to, "format": one.format.value, "payloads": one.payloads}


async def _sink(one: ExportSettings, folder: Path, origin: str, opened: AsyncExitStack) -> Sink:
    if one.file:
        return FileSink(Path(one.file), origin, rotate_bytes=one.rotate_bytes, keep=one.keep)
    http = await opened.enter_async_context(client(total_s=POST_S_MAX, connect_s=CONNECT_S_MAX, connections_max=1))
    token = TokenFile(Path(one.token_file)) if one.token_file else None
    return HttpSink(http, one.url, origin, folder / POSITIONS / f"{one.name}.position", token)
