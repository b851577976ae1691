"""A door's recorder over a real log and the calls of a cell, and a session under a real certificate."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cells.breakglass.door.ports import Ending, Session, Statement, backend_of
from cells.breakglass.statements import entries, recorder, watching
from foundation.ledger.beside import payload
from foundation.ledger.log import Log
from tests.stands.access_cell import AccessStand, access_stand
from tests.stands.ledger import reader
from tests.stands.sessions import certified_session


class Door:
    """`ended`: why its sessions were told to end."""

    def __init__(self, stand: AccessStand) -> None:
        self.stand = stand
        self.folder = stand.folder / "log"
        self.committer = stand.access.recording.committer
        self.recorder = stand.access.recording.recorder
        self.ended: list[Ending] = []

    @property
    def log(self) -> Log:
        assert self.stand.writer.log is not None
        return self.stand.writer.log

    async def session(self, **changes: Any) -> Session:
        return msgspec.structs.replace(await certified_session(self.stand, "5e" * 16), **changes)

    async def opened(self, **changes: Any) -> Session:
        session = await self.session(**changes)
        await self.recorder.opened(session, backend_of(1_800_000_000.5, 4_711), self.ended.append)
        return session

    def said(self) -> list[Any]:
        """What the door's entries say, in the log's order, each with its payload."""
        self.log.publish()
        kinds = {kind.value for kind in entries.KINDS}
        found = [one for one in reader(self.folder).newest() if one.entry.kind in kinds][::-1]
        payloads = [payload(self.folder, one) for one in found]
        return [entries.read(bytes(held.details)) for held in payloads if held is not None]


@asynccontextmanager
async def recorded_door(folder: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    patch.setattr(watching, "LOOK_S", 0.01)
    patch.setattr(watching, "SWEEP_S", 0.01)
    patch.setattr(recorder, "GATHER_S", 0.01)
    async with access_stand(folder, patch) as stand, working(*stand.access.recording.workers.values()):
        yield Door(stand)


@asynccontextmanager
async def working(*workers: Callable[[], Any]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(worker()) for worker in workers]
        yield
        for task in tasks:
            task.cancel()


def statement(session: Session, number: int = 1, text: str = "SELECT 1", **more: Any) -> Statement:
    return Statement(session=session.id, number=number, text=text, kind=more.pop("kind", "simple"), **more)
