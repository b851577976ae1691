"""What `domicile up` shows while it runs: a live table on a terminal, a line per change elsewhere."""

import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self

import click
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deploy.local.layout import REGIONS, ProcessName
from deploy.local.supervisor import StackView
from foundation.clock import Clock

_STYLES = {"running": "green", "starting": "yellow", "waiting": "dim", "stopped": "dim"}
_TABLE_LINES = 4
"""Lines of the table that are no process: a blank one, the heading, its rule, a blank one."""


class Display(AbstractContextManager["Display"], Protocol):
    """`show` is told of each change; `pause` leaves the terminal to somebody else until `resume`."""

    def show(self, view: StackView) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


def display(clock: Clock) -> Display:
    console = Console(highlight=False)
    return LiveTable(console, clock) if console.is_terminal else Lines(clock)


class Lines:
    """For logs and pipes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock.monotonic_s()
        self._status = ""
        self._states: dict[str, str] = {}
        self._paused = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        return None

    def show(self, view: StackView) -> None:
        for name, process in view.processes.items():
            quiet = self._paused or process.state in ("waiting", "starting")
            if self._states.get(name) != process.state and not quiet:
                detail = view.details.get(name, "")
                self._say(f"{name:20} {process.state}{f': {detail}' if detail else ''}")
            self._states[name] = process.state
        if view.status != self._status:
            self._status = view.status
            self._say(f"stack {view.status}")
            if view.status == "ready":
                click.echo("\n".join(_addresses(view)))

    def _say(self, text: str) -> None:
        click.echo(f"{self._clock.monotonic_s() - self._started:6.1f} s  {text}")
        sys.stdout.flush()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False


class LiveTable:
    """For terminals."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._started = clock.monotonic_s()
        self._took: float | None = None
        self._view: StackView | None = None
        self._live = self._new_live()

    def _new_live(self) -> Live:
        return Live(get_renderable=self._render, console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def show(self, view: StackView) -> None:
        self._view = view
        if view.status == "ready" and self._took is None:
            self._took = self._clock.monotonic_s() - self._started

    def pause(self) -> None:
        self._live.stop()

    def resume(self) -> None:
        self._live = self._new_live()
        self._live.start()

    def _render(self) -> RenderableType:
        if self._view is None:
            return Text("preparing …", style="dim")
        footer = self._footer(self._view)
        listed, left_out = fitting(self._view, self._console.height - len(footer) - _TABLE_LINES)
        if left_out:
            footer.insert(0, f"{left_out} {'more ' if listed else ''}processes; `domicile status` lists all")
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("process", "state", "pid", "port", "restarts"):
            table.add_column(heading, no_wrap=True)
        table.add_column("")
        for name in listed:
            process = self._view.processes[name]
            table.add_row(
                name,
                Text(process.state, style=_STYLES.get(process.state, "red")),
                str(process.pid or ""),
                str(process.port),
                str(process.restarts or ""),
                # One line a process, so that the height is known: the detail alone gives way.
                Text(self._view.details.get(name, ""), style="dim", no_wrap=True, overflow="ellipsis"),
            )
        below = Text("\n".join(footer))
        return Group(table, below) if listed else below

    def _footer(self, view: StackView) -> list[str]:
        if view.status == "ready":
            return [f"ready after {self._took or 0:.1f} s", *_addresses(view), "Ctrl-C ends it"]
        return [f"{view.status} … {self._clock.monotonic_s() - self._started:.1f} s"]


def fitting(view: StackView, lines: int) -> tuple[list[ProcessName], int]:
    """Which processes `lines` have room for, those that do not run first, and how many are left out. Pure."""
    if len(view.processes) <= lines:
        return list(view.processes), 0
    unwell = [name for name, process in view.processes.items() if process.state != "running"]
    # The line that counts those left out takes one.
    listed = unwell[: max(0, lines - 1)]
    return listed, len(view.processes) - len(listed)


def _addresses(view: StackView) -> list[str]:
    """Lines of at most 80 characters."""
    layout = view.layout
    return [
        f"gateway {region.id}  {layout.url(f'gateway-{region.id}')}  tokens: POST {layout.url(f'issuer-{region.id}')}/mint"
        for region in REGIONS
        if f"gateway-{region.id}" in view.processes
    ]
