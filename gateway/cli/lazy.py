"""Groups whose subcommands are imported when they are called, so that help is quick and one broken part stops no other."""

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from foundation.settings import SettingsError


class Lazy(NamedTuple):
    """Where a subcommand lives, and its line in the help."""

    module: str
    attribute: str
    summary: str


class LazyGroup(click.Group):
    """Knows names and summaries (`table`); imports a subcommand only to run it or to show its own help."""

    def __init__(self, *args: Any, table: Mapping[str, Lazy], **more: Any) -> None:
        super().__init__(*args, **more)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        lazy = self._table.get(cmd_name)
        if lazy is None:
            return None
        try:
            found = getattr(importlib.import_module(lazy.module), lazy.attribute)
        except ModuleNotFoundError as exc:
            if exc.name != lazy.module:
                raise
            raise click.ClickException(f"this installation has no command {cmd_name!r}") from exc
        if not isinstance(found, click.Command):
            raise click.ClickException(f"this installation has no command {cmd_name!r}")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.summary) for name, lazy in self._table.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """A setting or state that does not hold is one line and exit status 1; wrong usage is click's own 2."""
        try:
            return super().invoke(ctx)
        except SettingsError as exc:
            raise click.ClickException(str(exc)) from exc
