"""The exports of a process's log, side by side: each with its own connection, waits and position, and an entry that says it began."""

import asyncio
import importlib.metadata
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx

from foundation import logs
from foundation.clock import Clock
from foundation.http import client
from foundation.ledger.export.following import Counted, Follower
from foundation.ledger.export.forms import Form, Format
from foundation.ledger.export.settings import ExportSettings
from foundation.ledger.export.sinks import LINE_TYPE, LINES_TYPE, POST_S_MAX, FileSink, HttpSink, Sink
from foundation.ledger.notes import Verifier
from foundation.ledger.witness.gathering import Gathering
from foundation.ledger.witness.quorum import Reach
from foundation.problems import ProblemError
from foundation.tasks import Backoff
from foundation.tokens import TokenFile
from foundation.webhooks import Signing

log = logs.get(__name__)

POSITIONS = "export"
"""The folder beside a log's files in which positions of HTTP sinks lie. It is not served."""
CONNECT_S_MAX = 5.0

Announce = Callable[[dict[str, Any]], Awaitable[None]]
"""Has the beginning of an export recorded, durably on return. Raises ProblemError when that cannot be had."""


async def export(
    folder: Path,
    verifier: Verifier,
    exports: Sequence[ExportSettings],
    announce: Announce,
    clock: Clock,
    cosignatures: Gathering | None = None,
) -> None:
    """For ever. Raises nothing that a sink or the log can cause. `cosignatures`: who gathers them; a notice waits for the widest quorum
    that is stated, since it is to be believed by itself."""
    version = importlib.metadata.version("domicile")
    async with AsyncExitStack() as opened, asyncio.TaskGroup() as group:
        for one in exports:
            sink = await _sink(one, folder, verifier.name, opened, clock)
            form = Form(one.format, one.shows, verifier.name, version, frozenset(map(str.lower, one.subjects)))
            counted = widest(cosignatures) if one.format is Format.NOTICES else None
            follower = Follower(one.name, folder, verifier, form, sink, since=one.since, counted=counted)
            group.create_task(_run(one, follower, announce), name=f"ledger export {one.name}")
        # Without any there is nothing to do, which is no reason to end.
        await asyncio.Event().wait()


def widest(cosignatures: Gathering | None) -> Counted | None:
    """None where settings state no quorum."""
    if cosignatures is None:
        return None
    gathering = cosignatures
    reach = Reach.WIDE if gathering.states(Reach.WIDE) else Reach.NEAR

    def counted() -> bytes | None:
        found = gathering.cosigned(reach)
        return None if found is None else found.note

    return counted


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
    return {"export": one.name, "to": to, "format": one.format.value, "payloads": one.shows}


async def _sink(one: ExportSettings, folder: Path, origin: str, opened: AsyncExitStack, clock: Clock) -> Sink:
    if one.file:
        return FileSink(Path(one.file), origin, rotate_bytes=one.rotate_bytes, keep=one.keep)
    http = await opened.enter_async_context(client(total_s=POST_S_MAX, connect_s=CONNECT_S_MAX, connections_max=1))
    token = TokenFile(Path(one.token_file)) if one.token_file else None
    signing = Signing(Path(one.signing_file), clock) if one.signing_file else None
    media_type = LINE_TYPE if one.format is Format.NOTICES else LINES_TYPE
    at = folder / POSITIONS / f"{one.name}.position"
    return HttpSink(http, one.url, origin, at, token, signing=signing, media_type=media_type)
