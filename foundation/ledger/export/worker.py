"""The exports of a process's log, side by side: each with its own connection, waits and position."""

import asyncio
import importlib.metadata
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from foundation.http import client
from foundation.ledger.export.following import Follower
from foundation.ledger.export.forms import Form
from foundation.ledger.export.settings import ExportSettings
from foundation.ledger.export.sinks import POST_S_MAX, FileSink, HttpSink, Sink
from foundation.ledger.notes import Verifier
from foundation.tokens import TokenFile

POSITIONS = "export"
"""The folder beside a log's files in which positions of HTTP sinks lie. It is not served."""
CONNECT_S_MAX = 5.0


async def export(folder: Path, verifier: Verifier, exports: Sequence[ExportSettings]) -> None:
    """For ever. Raises nothing that a sink or the log can cause."""
    async with AsyncExitStack() as opened, asyncio.TaskGroup() as group:
        for one in exports:
            sink = await _sink(one, folder, verifier.name, opened)
            form = Form(one.format, one.payloads, verifier.name, importlib.metadata.version("domicile"))
            follower = Follower(one.name, folder, verifier, form, sink, since=one.since)
            group.create_task(follower.run(), name=f"ledger export {one.name}")
        # Without any there is nothing to do, which is no reason to end.
        await asyncio.Event().wait()


async def _sink(one: ExportSettings, folder: Path, origin: str, opened: AsyncExitStack) -> Sink:
    if one.file:
        return FileSink(Path(one.file), origin, rotate_bytes=one.rotate_bytes, keep=one.keep)
    http = await opened.enter_async_context(client(total_s=POST_S_MAX, connect_s=CONNECT_S_MAX, connections_max=1))
    token = TokenFile(Path(one.token_file)) if one.token_file else None
    return HttpSink(http, one.url, origin, folder / POSITIONS / f"{one.name}.position", token)
