"""One child process of the supervisor: spawned, probed until ready, restarted with growing waits when it dies, stopped when told to."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from deploy.local.account import Account
from deploy.local.layout import ProcessName
from foundation.clock import Clock
from foundation.mute import Secret
from foundation.settings import SettingsError
from foundation.tasks import Backoff

FIRST_ATTEMPTS_MAX = 6
"""Deaths before a child was ever ready after which starting the stack has failed."""
STEADY_S = 10.0
"""A child that lived this long after it was ready is restarted at once when it dies."""
PROBE_S = 0.05
WATCH_S = 2.0
SETTINGS_STATUS = 2
"""Exit status of a process that cannot use its settings (foundation.server.run)."""
_SHIM = Path(__file__).with_name("shim.py")

Probe = Callable[[], Awaitable[str | None]]
"""None when the process would take traffic, else why not yet."""


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """How a child is run. `stop`: signals with the seconds to wait after each; `death` is what it gets when the supervisor dies.

    `prepare` runs before each spawn, `provision` once after it first answers.
    """

    name: ProcessName
    command: tuple[str, ...]
    port: int
    log: Path
    probe: Probe
    environment: Mapping[str, Secret[str]] = {}
    account: Account | None = None
    stop: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 12.0), (signal.SIGKILL, 5.0))
    death: signal.Signals = signal.SIGKILL
    watched: bool = True
    prepare: Callable[[], Awaitable[None]] | None = None
    provision: Callable[[], Awaitable[None]] | None = None


class Child:
    """A child and its one task, `run`. `state` is one of: waiting, starting, running, not_ready, restarting, stopping, stopped."""

    def __init__(self, spec: Spec, clock: Clock, changed: Callable[[], None]) -> None:
        self.spec = spec
        self.state = "waiting"
        self.detail = ""
        self.restarts = 0
        self.broken: SettingsError | None = None
        self.settled = asyncio.Event()
        """Set when it was ready for the first time, or `broken` says why it will not be."""
        self._ready = asyncio.Event()
        self._provisioned = False
        self._clock = clock
        self._changed = changed
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._poked = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._process: asyncio.subprocess.Process | None = None
        self._backoff = Backoff(first_s=0.2, max_s=5.0)
        self._ready_at: float | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def run(self) -> None:
        """Keeps the process running while it is wanted; ends only by cancellation or when its first start failed."""
        attempts = 0
        while self.broken is None:
            if not self._wanted.is_set():
                self._now("stopped")
                await self._wanted.wait()
            self._idle.clear()
            hopeless = False
            try:
                status = await self._live()
                reason = f"ended with status {status}: {last_line(self.spec.log)}"
                hopeless = status == SETTINGS_STATUS
            except (SettingsError, OSError) as exc:
                reason, hopeless = str(exc), True
            finally:
                self._process = None
                self._ready.clear()
                self._idle.set()
            if self._wanted.is_set():
                attempts += 1
                self._judge(reason, hopeless=hopeless or attempts >= FIRST_ATTEMPTS_MAX)
                await self._pause()

    def _judge(self, reason: str, *, hopeless: bool) -> None:
        """After a death that nobody ordered: give up a hopeless first start, else count a restart."""
        if hopeless and not self.settled.is_set():
            self._break(reason)
            return
        self.restarts += 1
        if self._ready_at is not None and self._clock.monotonic_s() - self._ready_at > STEADY_S:
            self._backoff.reset()
        self._now("restarting", reason)

    async def _pause(self) -> None:
        self._poked.clear()
        if self.broken is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._backoff.next_s()):
                    await self._poked.wait()

    async def _live(self) -> int:
        """From spawn to exit. Raises SettingsError, OSError."""
        self._now("starting")
        if self.spec.prepare is not None:
            await self.spec.prepare()
        self._ready_at = None
        process = self._process = await self._spawn()
        self._now("starting")
        if not self._wanted.is_set():
            self._signal(self.spec.stop[0][0])
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch())
                status = await process.wait()
                watching.cancel()
            return status
        finally:
            if process.returncode is None:  # cancelled: a supervisor that is itself broken leaves nothing behind
                process.kill()

    async def _spawn(self) -> asyncio.subprocess.Process:
        spec = self.spec
        account = f"{spec.account.uid}:{spec.account.gid}" if spec.account else "-"
        descriptor = os.open(spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_SHIM), str(os.getpid()), str(int(spec.death)), account, "--"),
                *spec.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                env=bare_environment() | {name: value.reveal() for name, value in spec.environment.items()},
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(descriptor)

    async def _watch(self) -> None:
        """Probes until ready, provisions once, then keeps the shown state true."""
        while (reason := await self.spec.probe()) is not None:
            self._now(self.state if self.state == "stopping" else "starting", reason)
            await asyncio.sleep(PROBE_S)
        if self.spec.provision is not None and not self._provisioned:
            try:
                await self.spec.provision()
            except (SettingsError, OSError) as exc:
                self._break(str(exc))
                return
            self._provisioned = True
        self._ready_at = self._clock.monotonic_s()
        self._show(None)
        self._ready.set()
        self.settled.set()
        while self.spec.watched:
            await asyncio.sleep(WATCH_S)
            self._show(await self.spec.probe())

    def _show(self, reason: str | None) -> None:
        if self._wanted.is_set():
            self._now("running" if reason is None else "not_ready", reason or "")

    def _break(self, reason: str) -> None:
        self.broken = SettingsError(f"{self.spec.name}: {reason}")
        self.settled.set()
        self._now("restarting", reason)

    def _now(self, state: str, detail: str = "") -> None:
        if (state, detail, self.pid) != (self.state, self.detail, getattr(self, "_shown_pid", None)):
            self.state, self.detail, self._shown_pid = state, detail, self.pid
            self._changed()

    # --- orders --------------------------------------------------------------------------------------------------------------

    async def start(self, *, s_max: float) -> bool:
        """Wants it to run; True once it is ready, False when that took longer than `s_max`."""
        self._wanted.set()
        self._poked.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(s_max):
                await self._ready.wait()
            return True
        return False

    async def stop(self, *, hasten: asyncio.Event | None = None) -> bool:
        """Wants it to be gone; True once it is. Signals grow harsher; `hasten` cuts the wait after the first, polite one."""
        self._wanted.clear()
        self._poked.set()
        if not self._idle.is_set():
            self._now("stopping")
        for turn, (number, wait_s) in enumerate(self.spec.stop):
            if self._idle.is_set():
                break
            self._signal(number)
            await self._until_idle(wait_s, hasten if turn == 0 else None)
        if self._idle.is_set():
            self._now("stopped")
        return self._idle.is_set()

    async def _until_idle(self, wait_s: float, hasten: asyncio.Event | None) -> None:
        waited = 0.0
        while waited < wait_s and not self._idle.is_set() and not (hasten and hasten.is_set()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.25):
                    await self._idle.wait()
            waited += 0.25

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


def bare_environment() -> dict[str, str]:
    """What a child inherits: where programs, temporary files and the language are; nothing else of ours."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR", "TZ") if name in os.environ}
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), **kept}


def last_line(log: Path) -> str:
    """The last line that a process wrote, for a message; at most 500 characters."""
    try:
        with log.open("rb") as lines:
            lines.seek(max(0, log.stat().st_size - 8192))
            tail = lines.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        tail = []
    return f"{tail[-1][-500:]} ({log})" if tail else f"it wrote nothing to {log}"
