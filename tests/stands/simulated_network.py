"""A loop whose time stands still until it is moved, and a network in front of a directory in memory that does what it is told: it holds
each question and each answer back until somebody delivers, repeats, spoils or loses it. The clients over it are the real ones."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from directory.client.remote import DirectoryUnavailable
from directory.placement.core import FeedPage, Resolved, ResolvedSubjects
from foundation.words import FeedSeq, LookupKey, SubjectId
from tests.stands.memory_directory import MemoryDirectory

TURNS_MAX = 2_000


class StillLoop(asyncio.SelectorEventLoop):
    """`now_s` is its time and that of every clock made by `clock`."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def time(self) -> float:
        return self.now_s

    def settle(self) -> None:
        """Runs whatever can run at this moment."""
        for _ in range(TURNS_MAX):
            self.call_soon(self.stop)
            self.run_forever()
            due = self._scheduled and self._scheduled[0].when() <= self.now_s  # type: ignore[attr-defined]
            if not self._ready and not due:  # type: ignore[attr-defined]
                return
        raise RuntimeError("tasks go round in circles")


class LoopClock:
    """A clock by the loop's time."""

    def __init__(self, loop: StillLoop) -> None:
        self._loop = loop

    def monotonic_s(self) -> float:
        return self._loop.now_s

    def unix_s(self) -> float:
        return 1_700_000_000.0 + self._loop.now_s


class Message:
    """A question on its way (`answer` None), or its answer on the way back."""

    def __init__(self, ask: Callable[[], Any], kind: str) -> None:
        self.ask = ask
        self.kind = kind
        self.answer: Any = None
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class SimulatedNetwork:
    """The port that clients ask (`directory.client.remote.Directory`). `under_way` are the messages; nothing moves by itself."""

    def __init__(self, directory: MemoryDirectory) -> None:
        self.directory = directory
        self.under_way: list[Message] = []

    async def resolve(self, keys: list[LookupKey]) -> Resolved:
        return await self._sent(lambda: self.directory.resolve_now(keys), "resolve", s_max=0.8)

    async def resolve_subjects(self, subjects: list[SubjectId]) -> ResolvedSubjects:
        return await self._sent(lambda: self.directory.resolve_subjects_now(subjects), "resolve", s_max=0.8)

    async def feed(self, after: FeedSeq, *, limit: int, wait_ms: int, mark: str = "") -> FeedPage:
        def page() -> FeedPage:
            return self.directory.page_now(after, limit, mark)

        return await self._sent(page, "feed", s_max=wait_ms / 1000 + 2.0)

    async def _sent(self, ask: Callable[[], Any], kind: str, *, s_max: float) -> Any:
        message = Message(ask, kind)
        self.under_way.append(message)
        try:
            async with asyncio.timeout(s_max):
                return await message.done
        except TimeoutError as exc:
            raise DirectoryUnavailable("timeout") from exc
        finally:
            if message in self.under_way:
                self.under_way.remove(message)

    # --- what may happen to a message ----------------------------------------------------------------------------------------

    def step(self, at: int) -> None:
        """The question reaches the directory, or its answer the client."""
        message = self.under_way[at % len(self.under_way)]
        if message.answer is None:
            message.answer = message.ask()
        elif not message.done.done():
            message.done.set_result(message.answer)

    def lose(self, at: int) -> None:
        """It is gone on the way there, or on the way back: the directory may have done what was asked."""
        message = self.under_way[at % len(self.under_way)]
        if not message.done.done():
            message.done.set_exception(DirectoryUnavailable("broken"))

    def repeat(self, at: int) -> None:
        """The directory gets the question twice; the second answer comes back."""
        message = self.under_way[at % len(self.under_way)]
        message.ask()
        message.answer = message.ask()

    def spoil(self, at: int, how: int) -> None:
        """A page with a gap, a repetition, or in disorder."""
        message = self.under_way[at % len(self.under_way)]
        page = message.answer
        if not isinstance(page, FeedPage) or not page.events:
            return
        events = page.events
        spoilt = (events[1:], (events[0], *events), events[::-1], (*events, events[-1]))[how % 4]
        message.answer = msgspec.structs.replace(page, events=spoilt)
