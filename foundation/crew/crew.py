"""The parent of a crew: starts its processes, watches them, brings back who dies, renews them one by one, ends them."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Sequence

from foundation import logs
from foundation.crew.hand import Hand, started
from foundation.crew.observed import RESTARTS, SERVING
from foundation.server import DRAIN_S_MAX, RELIEVED_S_MAX, bound
from foundation.tasks import Backoff, first_of

log = logs.get(__name__)

WORKERS_MAX = 256
SUCCEEDS_S_MAX = 60.0
"""From the start of a successor until it listens; after that its predecessor stays."""
ALONE_S = 10.0
"""After so long without anybody who listens, whoever is there does, and says itself why it is not ready."""
LOOK_S = 1.0
STEADY_S = 10.0
"""Who listened for so long before it died is brought back without the waits of those who died before."""
SPARE_S = 5.0


class Slot:
    """One place of the crew: its number, its listening socket, and who sits there now. `turn`: who may change that."""

    def __init__(self, number: int, listener: socket.socket) -> None:
        self.number = number
        self.listener = listener
        self.hand: Hand | None = None
        self.restarts = 0
        self.turn = asyncio.Lock()
        self.backoff = Backoff(first_s=0.2, max_s=10.0)


class Crew:
    """`count` processes that run `command` on one port, which is chosen once where it is 0. `drain_s`: what each takes before it closes."""

    def __init__(self, command: Sequence[str], *, host: str, port: int, count: int, drain_s: float) -> None:
        """Raises SettingsError where the address is taken or not ours."""
        if port:
            bound(host, port).close()  # without SO_REUSEPORT: strangers on the port are noticed, not joined
        self._command = tuple(command)
        self._host = host
        self._end_s = drain_s + DRAIN_S_MAX + SPARE_S
        first = bound(host, port, shared=True)
        self.port: int = first.getsockname()[1]
        rest = [bound(host, self.port, shared=True) for _ in range(count - 1)]
        self.slots = [Slot(number, listener) for number, listener in enumerate((first, *rest), start=1)]
        self.over = asyncio.Event()
        self.status = 0
        """What the parent's own exit status is to be, once it is `over`."""
        self._alive: set[Hand] = set()
        SERVING.set_function(lambda: sum(slot.hand is not None and slot.hand.serves for slot in self.slots))

    async def run(self, told: asyncio.Event, renew: asyncio.Event) -> None:
        """Until `told`, or until the first process ends before its settings held; then `over` is set. Never returns. Whoever lives when
        this is cancelled is killed."""
        try:
            async with asyncio.TaskGroup() as group:
                keepers: list[asyncio.Task[None]] = []
                if await self._opens(told, group):
                    log.info("crew_serving", address=self._host, port=self.port, count=len(self.slots))
                    keepers += [group.create_task(self._keep(slot, group)) for slot in self.slots]
                    keepers.append(group.create_task(self._renewing(renew, group)))
                    keepers.append(group.create_task(self._answering()))
                    await told.wait()
                for keeper in keepers:
                    keeper.cancel()
                await asyncio.gather(*keepers, return_exceptions=True)
                await self._end()
            self.over.set()
            await asyncio.Event().wait()
        finally:
            for hand in self._alive:
                hand.signal(signal.SIGKILL)
            for slot in self.slots:
                slot.listener.close()

    async def _opens(self, told: asyncio.Event, group: asyncio.TaskGroup) -> bool:
        """Starts the first alone, so that settings that do not hold are said once, and end the crew."""
        first = self.slots[0]
        first.hand = await self._started(first, group)
        await first_of(first.hand.opened.wait(), told.wait())
        if first.hand.gone.is_set():
            self.status = first.hand.status or 1
            return False
        return True

    async def _started(self, slot: Slot, group: asyncio.TaskGroup) -> Hand:
        hand = await started(self._command, slot.number, slot.listener)
        self._alive.add(hand)
        log.info("worker_started", worker=str(slot.number), pid=hand.pid)
        group.create_task(self._followed(hand))
        return hand

    async def _another(self, slot: Slot, group: asyncio.TaskGroup) -> Hand | None:
        """None where no process can be started just now: those who serve go on."""
        try:
            return await self._started(slot, group)
        except OSError as exc:
            log.fault("worker_not_started", exc, worker=str(slot.number))
            return None

    async def _followed(self, hand: Hand) -> None:
        try:
            await hand.follow()
        finally:
            if hand.gone.is_set():
                self._alive.discard(hand)

    async def _keep(self, slot: Slot, group: asyncio.TaskGroup) -> None:
        """Somebody sits there, for ever."""
        while True:
            async with slot.turn:
                hand = slot.hand = slot.hand or await self._another(slot, group)
            if hand is None:
                await asyncio.sleep(slot.backoff.next_s())
                continue
            await hand.leaving.wait()
            if not hand.gone.is_set() and await self._succeeded(slot, hand, group):
                continue
            await hand.gone.wait()
            async with slot.turn:
                if slot.hand is not hand:
                    continue
                self._lost(slot, hand)
            await asyncio.sleep(slot.backoff.next_s())

    async def _succeeded(self, slot: Slot, hand: Hand, group: asyncio.TaskGroup) -> bool:
        """For one that was told to end by somebody, and listens on meanwhile: whether another sits in its place. If nobody can, its
        socket goes with it, unless nobody else would serve then: it stays until somebody can."""
        async with slot.turn:
            if slot.hand is not hand:
                return True
            log.info("worker_leaves", worker=str(slot.number), pid=hand.pid)
            successor = await self._successor(slot, group)
            while successor is None and self._alone_serves(slot, hand):
                log.error("worker_not_succeeded", worker=str(slot.number), pid=hand.pid)
                await asyncio.sleep(slot.backoff.next_s())
                successor = await self._successor(slot, group)
            if successor is None:
                self._another_listener(slot)
                hand.over()
                log.error("worker_not_succeeded", worker=str(slot.number), pid=hand.pid)
                return False
            slot.hand = successor
            slot.restarts += 1
            RESTARTS.labels(str(slot.number)).inc()
        hand.leave()
        group.create_task(hand.ended(RELIEVED_S_MAX + DRAIN_S_MAX + SPARE_S))
        return True

    def _alone_serves(self, slot: Slot, hand: Hand) -> bool:
        """Whether nobody else serves who was not told to end as well."""
        others = [each.hand for each in self.slots if each is not slot and each.hand is not None]
        return hand.serves and not any(other.serves and not other.leaving.is_set() for other in others)

    def _another_listener(self, slot: Slot) -> None:
        former, slot.listener = slot.listener, bound(self._host, self.port, shared=True)
        former.close()

    def _lost(self, slot: Slot, hand: Hand) -> None:
        """Its socket goes with it, so that connections reach those who live. A successor listens on a new one."""
        self._another_listener(slot)
        slot.hand = None
        slot.restarts += 1
        RESTARTS.labels(str(slot.number)).inc()
        if hand.served_at is not None and asyncio.get_running_loop().time() - hand.served_at > STEADY_S:
            slot.backoff.reset()
        log.error("worker_lost", worker=str(slot.number), pid=hand.pid, status=hand.status)

    async def _renewing(self, asked: asyncio.Event, group: asyncio.TaskGroup) -> None:
        """Each time that it is asked for, one after the other; the first that does not succeed leaves the rest as they are."""
        while True:
            await asked.wait()
            asked.clear()
            for slot in self.slots:
                if not await self._renewed(slot, group):
                    log.error("crew_not_renewed", worker=str(slot.number))
                    break
            else:
                log.info("crew_renewed", count=len(self.slots))

    async def _renewed(self, slot: Slot, group: asyncio.TaskGroup) -> bool:
        """Whether a successor listens on the socket of whoever sat there, who has left since."""
        async with slot.turn:
            former = slot.hand
            if former is None:
                return True  # somebody new comes anyway
            successor = await self._successor(slot, group)
            if successor is None:
                return False
            slot.hand = successor
        former.leave()
        await former.ended(RELIEVED_S_MAX + DRAIN_S_MAX + SPARE_S)
        return True

    async def _successor(self, slot: Slot, group: asyncio.TaskGroup) -> Hand | None:
        """Somebody new who listens on the slot's socket, beside whoever does; None: nobody does so in time."""
        successor = await self._another(slot, group)
        if successor is None:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SUCCEEDS_S_MAX):
                await successor.serving.wait()
        if successor.serves:
            return successor
        successor.signal(signal.SIGTERM)
        await successor.ended(self._end_s)
        return None

    async def _answering(self) -> None:
        """Sees to it that somebody listens, for ever."""
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while True:
            await asyncio.sleep(LOOK_S)
            if any(hand.serves for hand in self._alive):
                heard = loop.time()
            elif loop.time() - heard > ALONE_S:
                for hand in self._alive:
                    hand.listen()

    async def _end(self) -> None:
        for slot in self.slots:
            slot.listener.close()  # theirs listen on for as long as they drain, and end with them
        for hand in self._alive:
            hand.over()
            hand.signal(signal.SIGTERM)
        await asyncio.gather(*(hand.ended(self._end_s) for hand in tuple(self._alive)))
