"""What one process of a crew has of it: its listening socket, and word from the parent."""

import asyncio
import socket
from collections.abc import Callable

from foundation import metrics
from foundation.crew.channel import (
    Asked,
    Channel,
    Leave,
    Leaving,
    Listen,
    Look,
    Opened,
    Over,
    Serving,
    Shown,
    to_the_parent,
)
from foundation.problems import Problem
from foundation.settings import SettingsError
from foundation.tasks import first_of

LOOK_S = 0.05


def stated(number: int, channel: socket.socket, listener: socket.socket) -> str:
    """As a process is told of its seat on its command line."""
    return f"{number}:{channel.fileno()}:{listener.fileno()}"


class Seat:
    """Implements `foundation.server.Shared`. `stop` is set when the parent is gone."""

    def __init__(
        self,
        number: int,
        listener: socket.socket,
        channel: Channel[Asked],
        stop: asyncio.Event,
        ready: Callable[[], Problem | None],
    ) -> None:
        self.number = number
        self.listener = listener
        self.relieved = asyncio.Event()
        self._channel = channel
        self._stop = stop
        self._ready = ready
        self._alone = False
        self._over = asyncio.Event()

    async def may_listen(self) -> None:
        """Once it is ready: until then the others, who know what it does not yet, take what comes. Or once there are none."""
        while not self._alone and self._ready() is not None:  # noqa: ASYNC110 - readiness is a level that nobody announces
            await asyncio.sleep(LOOK_S)

    def listens(self) -> None:
        self._channel.say(Serving())

    async def may_leave(self) -> None:
        """Once nobody else holds the socket any more: connections that wait there would wait for nobody. With a successor who listens on it
        there is nothing to leave: its own connections end one by one, as `relieved` says, unless all of the crew leave.

        No clock of this process ends the wait, during which it serves: the parent says one or the other, however long the successor takes,
        or is gone."""
        succeeded = self.relieved.is_set()
        self._channel.say(Leaving())
        await first_of(self.relieved.wait(), self._over.wait())
        if self.relieved.is_set() and not succeeded:
            await self._over.wait()

    async def heed(self) -> None:
        """A worker of the process: does what the parent asks for, for ever."""
        while (asked := await self._channel.hear()) is not None:
            match asked:
                case Leave():
                    self.relieved.set()
                case Listen():
                    self._alone = True
                case Over():
                    self._over.set()
                case Look():
                    problem = self._ready()
                    metrics.READY.set(0 if problem else 1)
                    shown = metrics.exposition()[0].decode()
                    self._channel.say(Shown(problem=None if problem is None else problem.detail, metrics=shown))
        self._over.set()
        self._stop.set()
        await asyncio.Event().wait()


async def taken(text: str, stop: asyncio.Event, ready: Callable[[], Problem | None]) -> Seat:
    """The seat that `stated` told of. The parent hears that the settings hold. Raises SettingsError where nobody gave it."""
    try:
        number, channel, listener = map(int, text.split(":"))
        listening, end = socket.socket(fileno=listener), socket.socket(fileno=channel)
        listening.setblocking(False)
        end.setblocking(False)
    except (ValueError, OSError) as exc:
        raise SettingsError("--seat is for the processes that --workers starts; leave it out") from exc
    said = await to_the_parent(end)
    said.say(Opened())
    return Seat(number, listening, said, stop, ready)
