"""Running the embedded stack, or parts of it, as `domicile up` does: in a process of its own, on free ports, in a folder of its own."""

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import msgspec
import psutil

from deploy.local import leftovers, lock
from deploy.local.account import outside
from deploy.local.layout import Paths
from deploy.local.parts import roots
from tests.stands.waiting import wait_for

READY_S_MAX = 60.0


class Run:
    """A supervisor on `state`. Use as a context manager: leaving it ends everything and removes what lies outside the folder."""

    def __init__(self, state: Path, *only: str, port_base: int | None = 0) -> None:
        self.paths = Paths(state)
        self.command = [sys.executable, "-P", "-m", "deploy.local.up", "--state", str(state)]
        self.command += ["--port-base", str(port_base)] if port_base is not None else []
        self.command += [word for pattern in only for word in ("--only", pattern)]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        return self

    def ready(self) -> Self:
        """Waits until the stack is ready; fails with the supervisor's own words."""

        def check() -> bool:
            self._still_runs()
            return self.document().get("status") == "ready" and self.document().get("pid") == self.pid

        wait_for(check, s_max=READY_S_MAX)
        return self

    def _still_runs(self) -> None:
        if self.running.poll() is not None:
            raise RuntimeError(f"the supervisor ended: {self.words()}")

    @property
    def running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise RuntimeError("not started")
        return self.process

    @property
    def pid(self) -> int:
        return self.running.pid

    def words(self) -> str:
        """What a supervisor that has ended said."""
        _, said = self.running.communicate(timeout=30)
        return said.decode()

    def document(self) -> dict[str, Any]:
        try:
            return msgspec.json.decode(self.paths.stack.read_bytes(), type=dict[str, Any])
        except FileNotFoundError:
            return {}

    def child(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.document().get("processes", {}).get(name, {})
        return found

    def running_children(self) -> list[psutil.Process]:
        return leftovers.find(roots(self.paths))

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends the signal, waits, and returns the exit status."""
        if self.running.poll() is None:
            self.running.send_signal(number)
        try:
            return self.running.wait(60)
        finally:
            if self.running.stderr:
                self.running.stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(Exception):
            self.end()
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if not lock.is_held(self.paths.lock):
            leftovers.end(roots(self.paths))
        shutil.rmtree(outside(self.paths.state), ignore_errors=True)


@contextlib.contextmanager
def stack(state: Path, *only: str, port_base: int | None = 0) -> Iterator[Run]:
    """A ready stack of the processes that `only` names."""
    with Run(state, *only, port_base=port_base) as run:
        yield run.start().ready()
