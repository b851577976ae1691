"""An edge in front of one service, an application or raw bytes, and a client of somebody who lives there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx

from foundation.http import HttpClient
from tests.stands.edge import Stand, edge, placement, tcp
from tests.stands.servers import serving


@contextlib.asynccontextmanager
async def in_front_of(app: Any, folder: Path, **options: Any) -> AsyncIterator[tuple[Stand, HttpClient]]:
    async with serving(app) as port, edge(folder, port, **options) as stand:
        stand.settle("ann", placement(epoch=7))
        async with HttpClient(base_url=stand.url, timeout=10) as http:
            yield stand, http


@contextlib.asynccontextmanager
async def before_raw(
    handler: Callable[..., Any], folder: Path, **options: Any
) -> AsyncIterator[tuple[Stand, HttpClient]]:
    async with tcp(handler) as port, edge(folder, port, **options) as stand:
        stand.settle("ann", placement(epoch=7))
        async with HttpClient(base_url=stand.url, timeout=10) as http:
            yield stand, http


async def head_of(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def code_of(response: httpx.Response) -> str:
    code: str = response.json()["code"]
    return code
