"""Every sink keeps the port's promises: a release is there with its manifest, which comes last, and each step may be repeated."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import fsspec
import pytest

from cells.egress.manifest import MANIFEST, SIGNATURE
from cells.egress.runs import measured
from cells.egress.sinks import sink_of
from cells.egress.sinks.port import SinkFailed
from foundation.settings import SettingsError
from tests.stands.lake import Lake
from tests.stands.servers import serving
from tests.stands.store import s3_store

pytestmark = pytest.mark.anyio
Look: TypeAlias = Callable[[], dict[str, bytes]]
"""What somebody sees who has the place alone: files by name."""


@asynccontextmanager
async def lake(folder: Path) -> AsyncIterator[tuple[str, Look]]:
    async with serving(Lake(folder / "lake")) as port:
        yield f"http://127.0.0.1:{port}/in", lambda: files_in(folder / "lake" / "in" / "rel-1")


@asynccontextmanager
async def store_on_disk(folder: Path) -> AsyncIterator[tuple[str, Look]]:
    yield f"file://{folder}/store", lambda: files_in(folder / "store" / "rel-1")


@asynccontextmanager
async def store_in_memory(folder: Path) -> AsyncIterator[tuple[str, Look]]:
    root = f"/{folder.name}-{id(folder)}"
    memory = fsspec.filesystem("memory")
    yield f"memory:/{root}", lambda: {path.rpartition("/")[2]: memory.cat(path) for path in memory.find(root)}


@asynccontextmanager
async def store_s3(folder: Path) -> AsyncIterator[tuple[str, Look]]:
    with s3_store() as bucket:
        yield "s3://lake/in", lambda: bucket.files("in/rel-1/")


SINKS = {"http": lake, "file": store_on_disk, "memory": store_in_memory, "s3": store_s3}


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def staged(folder: Path) -> dict[str, bytes]:
    """A release's files, as a run has them before they are put."""
    made = {"part-00001-ab.ndjson": b"1" * 200_000, "part-00002-cd.ndjson": b"2", MANIFEST: b"{}", SIGNATURE: b"signed"}
    (folder / "staging").mkdir()
    for name, content in made.items():
        (folder / "staging" / name).write_bytes(content)
    return made


@pytest.mark.parametrize("kind", SINKS)
async def test_a_release_is_there_when_its_manifest_is_and_each_step_may_be_repeated(folder: Path, kind: str) -> None:
    made, staging = staged(folder), folder / "staging"
    async with SINKS[kind](folder) as (url, look):
        sink = sink_of(url, {})
        assert sink.puts
        assert not await asyncio.to_thread(sink.holds, "rel-1")
        for name in ("part-00001-ab.ndjson", "part-00001-ab.ndjson", "part-00002-cd.ndjson"):
            await asyncio.to_thread(sink.put, "rel-1", staging / name, measured(staging / name)[1])
        assert look().keys() == {"part-00001-ab.ndjson", "part-00002-cd.ndjson"}
        assert not await asyncio.to_thread(sink.holds, "rel-1")
        for _ in range(2):
            await asyncio.to_thread(sink.publish, "rel-1", staging)
            assert look() == made
        assert await asyncio.to_thread(sink.holds, "rel-1")


@pytest.mark.parametrize("kind", SINKS)
async def test_what_has_no_manifest_can_be_taken_back_and_what_is_not_there_too(folder: Path, kind: str) -> None:
    staged(folder)
    part = folder / "staging" / "part-00002-cd.ndjson"
    async with SINKS[kind](folder) as (url, look):
        sink = sink_of(url, {})
        await asyncio.to_thread(sink.put, "rel-1", part, measured(part)[1])
        for name in (part.name, part.name, "part-00009-ff.ndjson"):
            await asyncio.to_thread(sink.remove, "rel-1", name)
        assert look() == {}


@pytest.mark.parametrize(
    ("url", "says"), [("s3://nobody-made-it/in", "s3://"), ("http://127.0.0.1:1/in", "127.0.0.1:1")]
)
async def test_a_sink_that_is_not_there_is_said_by_name_and_kind_of_fault(folder: Path, url: str, says: str) -> None:
    staged(folder)
    part = folder / "staging" / "part-00002-cd.ndjson"
    with s3_store():
        sink = sink_of(url, {})
        with pytest.raises(SinkFailed, match=f"{says}.*part-00002"):
            await asyncio.to_thread(sink.put, "rel-1", part, measured(part)[1])


async def test_a_service_that_wants_a_token_gets_the_one_of_its_origin_and_no_other(folder: Path) -> None:
    staged(folder)
    part = folder / "staging" / "part-00002-cd.ndjson"
    (folder / "token").write_text("let-me-in")
    async with serving(Lake(folder / "lake", wants="let-me-in")) as port:
        origin = f"http://127.0.0.1:{port}"
        shown = sink_of(f"{origin}/in", {origin: str(folder / "token")})
        await asyncio.to_thread(shown.put, "rel-1", part, measured(part)[1])
        stranger = sink_of(f"{origin}/in", {"https://elsewhere.example.com": str(folder / "token")})
        with pytest.raises(SinkFailed, match="answered 401 to PUT part-00002"):
            await asyncio.to_thread(stranger.put, "rel-1", part, measured(part)[1])


def test_a_store_that_nobody_knows_is_a_mistake_of_the_command() -> None:
    with pytest.raises(SettingsError, match="nosuch://place"):
        sink_of("nosuch://place", {})
