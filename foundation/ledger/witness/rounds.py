"""One checkpoint offered to several witnesses at once: ends when all have answered, or soon after enough of them have."""

import asyncio
from collections.abc import Sequence

from foundation import logs
from foundation.ledger.files import LogDamaged
from foundation.ledger.merkle import ProofRefused
from foundation.ledger.notes import Line, NoteRefused
from foundation.ledger.reading import Absent
from foundation.ledger.tiles import MalformedTile
from foundation.ledger.witness.asking import Asking, NoCosignature, Offered
from foundation.ledger.witness.quorum import Quorum
from foundation.tasks import Bell

log = logs.get(__name__)

ROUND_S_MAX = 5.0
GRACE_S = 0.5
"""For those that have not answered when the quorum is met."""
UNREADABLE = (OSError, Absent, MalformedTile, LogDamaged, NoteRefused, ProofRefused)
"""What reading a log raises that changes underneath, or is damaged: tried again later."""


async def gather(asked: Sequence[Asking], offered: Offered, quorum: Quorum, lines: dict[str, Line]) -> None:
    """Adds to `lines`, by the witnesses' names, what they answer. Those that do not in time are given up for now."""
    left, answered = {asking.at.name: asking for asking in asked}, Bell()

    async def ask(asking: Asking) -> None:
        try:
            lines[asking.at.name] = await asking.ask(offered)
            asking.stands(None)
        except NoCosignature as exc:
            asking.stands(str(exc))
        except UNREADABLE as exc:
            log.fault("ledger_witnessing_down", exc, source=asking.at.name)
        del left[asking.at.name]
        answered.ring()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(asking), name=f"witness {asking.at.name}") for asking in asked]
        try:
            async with asyncio.timeout(ROUND_S_MAX):
                while left and not quorum.met(lines):
                    await answered.heard()
                async with asyncio.timeout(GRACE_S):
                    while left:
                        await answered.heard()
        except TimeoutError:
            for asking in left.values():
                asking.stands("slow")
        for task in tasks:
            task.cancel()
