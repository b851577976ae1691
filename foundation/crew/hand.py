"""One process of a crew, as its parent has it."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Sequence

from foundation.crew.channel import (
    Channel,
    Leave,
    Leaving,
    Listen,
    Look,
    Opened,
    Over,
    Serving,
    Shown,
    Told,
    to_a_process,
)
from foundation.crew.seat import stated

LOOK_S_MAX = 2.0
KILLED_S_MAX = 5.0


class Hand:
    """`opened`, `serving`, `leaving` and `gone` are set in this order; all of them once it has ended, `status` being how."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, channel: Channel[Told]) -> None:
        self.number = number
        self.opened = asyncio.Event()
        self.serving = asyncio.Event()
        self.leaving = asyncio.Event()
        self.gone = asyncio.Event()
        self.status: int | None = None
        self.served_at: float | None = None
        """On the loop's clock: since when it listens."""
        self._process = process
        self._channel = channel
        self._asked: list[asyncio.Future[Shown | None]] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def serves(self) -> bool:
        return self.served_at is not None and not self.gone.is_set()

    async def follow(self) -> None:
        """From its first word to its end."""
        while (told := await self._channel.hear()) is not None:
            match told:
                case Opened():
                    self.opened.set()
                case Serving():
                    self.served_at = asyncio.get_running_loop().time()
                    self.serving.set()
                case Leaving():
                    self.leaving.set()
                case Shown():
                    self._answered(told)
        self.status = await self._process.wait()
        self._channel.close()
        for event in (self.opened, self.serving, self.leaving, self.gone):
            event.set()
        while self._asked:
            self._answered(None)

    def _answered(self, shown: Shown | None) -> None:
        if self._asked:
            waiting = self._asked.pop(0)
            if not waiting.done():
                waiting.set_result(shown)

    async def look(self) -> Shown | None:
        """How it stands; None where it does not say so in time."""
        if self.gone.is_set():
            return None
        waiting: asyncio.Future[Shown | None] = asyncio.get_running_loop().create_future()
        self._asked.append(waiting)
        self._channel.say(Look())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S_MAX):
                return await waiting
        return None

    def listen(self) -> None:
        """Nobody else does: ready or not."""
        self._channel.say(Listen())

    def leave(self) -> None:
        """A successor listens on its socket: it takes no new connections, and ends with those that it has."""
        self._channel.say(Leave())

    def over(self) -> None:
        """No successor comes: it leaves when it is told to."""
        self._channel.say(Over())

    def signal(self, number: signal.Signals) -> None:
        if not self.gone.is_set():
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def ended(self, within_s: float) -> None:
        """Waits for its end, and brings it about after that time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.gone.wait()
                return
        self.signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILLED_S_MAX):
                await self.gone.wait()


async def started(command: Sequence[str], number: int, listener: socket.socket) -> Hand:
    """A process that has just begun, in a session of its own: what a terminal tells the crew is the parent's to tell."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *command,
                "--seat",
                stated(number, theirs, listener),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), listener.fileno()),
                start_new_session=True,
            )
        return Hand(number, process, await to_a_process(ours))
    except BaseException:
        ours.close()  # the process, if there is one, ends with it
        raise
