"""The supervisor of the embedded stack: starts every process as soon as what it needs answers, keeps it running, ends all of them."""

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from deploy.local import control, files, keys, loopback, parts, render
from deploy.local.child import Child
from deploy.local.control import Answer, Command
from deploy.local.layout import CONTROL, Layout, ProcessName, dependencies, matching, process_names, stop_waves
from foundation.clock import Clock
from foundation.settings import SettingsError

START_S_MAX = 180.0
"""Bound on a whole start; a first one takes a few seconds on two cores, far longer on a drowning machine."""
ORDER_S_MAX = 60.0
HOUSEKEEPING_S = 2.0
LOG_BYTES_MAX = 32 << 20


class StackView(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be seen of the stack: `status` is starting, ready, stopping or stopped."""

    layout: Layout
    status: str
    processes: dict[ProcessName, render.ProcessView]
    details: dict[ProcessName, str]


Observer = Callable[[StackView], None]
OnReady = Callable[[Layout], Awaitable[int | None]]
"""Called once when everything is ready; an exit status ends the stack, None lets it run on."""


class Supervisor:
    """One run of the stack. `run` returns the exit status; `stop` asks it to end, a second time to hurry."""

    def __init__(
        self,
        layout: Layout,
        held: keys.Secrets,
        clock: Clock,
        *,
        only: Sequence[str],
        observe: Observer,
        on_ready: OnReady,
    ) -> None:
        """`only`: patterns of the processes to run, all where empty. Raises SettingsError."""
        self._layout = layout
        self._held = held
        self._clock = clock
        self._observe = observe
        self._on_ready = on_ready
        self._status = "starting"
        self._stopping = asyncio.Event()
        self._hasten = asyncio.Event()
        self._exit_status = 0
        self._tokens_at = clock.unix_s()
        specifications = parts.specifications(layout, held)
        self._children = {name: Child(specifications[name], clock, self._changed) for name in _chosen(only)}

    def stop(self) -> None:
        if self._stopping.is_set():
            self._hasten.set()
        self._stopping.set()

    async def run(self) -> int:
        """Raises SettingsError when the stack could not be started (it is ended then)."""
        self._changed()
        try:
            async with (
                _fail_as_one(),
                control.listening(self._layout.port(CONTROL), self._held.control, self._obey),
            ):
                await self._run_children()
        finally:
            self._now("stopped")
        return self._exit_status

    async def _run_children(self) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._child(child), name=name) for name, child in self._children.items()]
            tasks.append(group.create_task(self._keep_house(), name="housekeeping"))
            starting = group.create_task(self._start(), name="start")
            await self._stopping.wait()
            self._now("stopping")
            starting.cancel()
            await self._end_children()
            for task in tasks:
                task.cancel()

    async def _child(self, child: Child) -> None:
        for name in dependencies(child.spec.name):
            if name in self._children:
                await self._children[name].settled.wait()
        await child.run()

    async def _start(self) -> None:
        """Until everything is ready and the rules hold. A start that cannot succeed raises, which ends the stack."""
        try:
            async with asyncio.timeout(START_S_MAX):
                await self._everything_ready()
        except TimeoutError as exc:
            late = [f"{name} ({child.detail})" for name, child in self._children.items() if not child.settled.is_set()]
            await self._give_up(SettingsError(f"not ready within {START_S_MAX:.0f} s: {', '.join(late)}"), exc)
        except SettingsError as exc:
            await self._give_up(exc, None)
        self._now("ready")
        status = await self._on_ready(self._layout)
        if status is not None:
            self._exit_status = status
            self.stop()

    async def _give_up(self, fault: SettingsError, cause: BaseException | None) -> None:
        self._now("stopping")
        await self._end_children()
        raise fault from cause

    async def _everything_ready(self) -> None:
        async with _fail_as_one(), asyncio.TaskGroup() as group:
            for child in self._children.values():
                group.create_task(_settled(child))
            if "directory" in self._children:
                group.create_task(self._publish())

    async def _publish(self) -> None:
        """Makes the rendered policy the rules that hold; the same again changes nothing. Raises SettingsError."""
        directory = self._children[ProcessName("directory")]
        policy = self._layout.paths.policy.read_text(encoding="utf-8")
        body = msgspec.json.encode({"policy": policy, "reason": "domicile up"})
        token = self._held.issuer.mint(*keys.OPERATOR, self._clock.unix_s())
        headers = {"Authorization": f"Bearer {token.reveal()}", "Content-Type": "application/json"}
        while directory.broken is None:
            try:
                answer = await loopback.request(directory.spec.port, "POST", "/v1/rules", headers=headers, body=body)
            except loopback.NoAnswer:
                await asyncio.sleep(0.1)
                continue
            if answer.status in (200, 201):
                return
            if answer.status != 503:
                raise SettingsError(f"the directory refuses the policy: {loopback.detail_of(answer)}")
            await asyncio.sleep(0.1)

    async def _end_children(self) -> None:
        for wave in stop_waves():
            leaving = [self._children[name] for name in wave if name in self._children]
            await asyncio.gather(*(child.stop(hasten=self._hasten) for child in leaving))

    async def _keep_house(self) -> None:
        """Renews tokens, bounds logs, and ends the stack when its state folder was taken away."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            if not self._layout.paths.lock.exists():
                sys.stderr.write(f"{self._layout.paths.state} is gone; ending the stack\n")
                self.stop()
                return
            now = self._clock.unix_s()
            if not 0 <= now - self._tokens_at < keys.TOKEN_RENEW_S:
                keys.write_tokens(self._layout.paths, self._held.issuer, now)
                self._tokens_at = now
            for child in self._children.values():
                bound_log(child.spec.log)

    # --- orders and views ----------------------------------------------------------------------------------------------------

    async def _obey(self, command: Command) -> Answer:
        match command.op:
            case "status":
                return Answer(value=msgspec.json.decode(self._document()))
            case "down":
                self.stop()
                return Answer(value=os.getpid())
            case "start" | "stop":
                return await self._order(command.op, command.name)

    async def _order(self, op: str, pattern: str) -> Answer:
        try:
            named = [self._children[name] for name in matching(pattern) if name in self._children]
        except ValueError as exc:
            return Answer(error=str(exc))
        if op == "stop":
            done = await asyncio.gather(*(child.stop() for child in named))
        else:
            done = await asyncio.gather(*(child.start(s_max=ORDER_S_MAX) for child in named))
        late = [child for child, well in zip(named, done, strict=True) if not well]
        if late:
            words = ", ".join(f"{child.spec.name} is {child.state} ({child.detail})" for child in late)
            return Answer(error=f"not done in time: {words}")
        return Answer(value=[child.spec.name for child in named])

    def _now(self, status: str) -> None:
        self._status = status
        self._changed()

    def _changed(self) -> None:
        """Writes stack.json and tells the observer."""
        with contextlib.suppress(FileNotFoundError):  # the state folder may be taken away under us
            files.write(self._layout.paths.stack, self._document(), mode=files.OPEN)
        self._observe(self.view())

    def view(self) -> StackView:
        return StackView(
            layout=self._layout,
            status=self._status,
            processes=self._views(),
            details={name: child.detail for name, child in self._children.items()},
        )

    def _views(self) -> dict[ProcessName, render.ProcessView]:
        return {
            name: render.ProcessView(pid=child.pid, port=child.spec.port, state=child.state, restarts=child.restarts)
            for name, child in self._children.items()
        }

    def _document(self) -> bytes:
        pid = None if self._status == "stopped" else os.getpid()
        return render.stack(self._layout, self._status, pid, self._views())


async def _settled(child: Child) -> None:
    await child.settled.wait()
    if child.broken is not None:
        raise child.broken


@contextlib.asynccontextmanager
async def _fail_as_one() -> AsyncIterator[None]:
    """Turns a group of faults into its first SettingsError."""
    try:
        yield
    except BaseExceptionGroup as exc:
        raise _first_fault(exc) from exc


def _first_fault(group: BaseExceptionGroup[Any]) -> BaseException:
    for exc in group.exceptions:
        inner = _first_fault(exc) if isinstance(exc, BaseExceptionGroup) else exc
        if isinstance(inner, SettingsError):
            return inner
    return group


def _chosen(only: Sequence[str]) -> tuple[ProcessName, ...]:
    """Raises SettingsError for a pattern that fits nothing."""
    try:
        named = {name for pattern in only for name in matching(pattern)}
    except ValueError as exc:
        raise SettingsError(str(exc)) from exc
    return tuple(name for name in process_names() if not only or name in named)


def bound_log(path: Path) -> None:
    """Copies a log that has grown too long aside and empties it; writers append, so they go on."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_BYTES_MAX:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)
