"""Says how far something long has come: a line that replaces itself on a terminal, elsewhere a line every so often."""

import sys
from collections.abc import Callable
from typing import Self

import click

from foundation.clock import Clock

EVERY_S = 10.0
WIDTH = 78


class Ticker:
    """To standard error, so that what a command prints with --json stays JSON."""

    def __init__(self, clock: Clock, *, terminal: bool | None = None, say: Callable[[str], None] | None = None) -> None:
        self._clock = clock
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._say = say or _to_stderr
        self._said_s = clock.monotonic_s()
        self._open = False

    def tell(self, line: str) -> None:
        now_s = self._clock.monotonic_s()
        if self._terminal:
            self._say(f"\r{line:<{WIDTH}}")
            self._open = True
        elif now_s >= self._said_s + EVERY_S:
            self._said_s = now_s
            self._say(f"{line}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """What is printed next begins a line."""
        if self._open:
            self._say("\n")
            self._open = False


def _to_stderr(text: str) -> None:
    click.echo(text, nl=False, err=True)
