"""The `domicile` command. Subcommands are imported when they are called, so that help is quick and one broken part stops no other."""

import importlib
from typing import Any, NamedTuple

import click

from foundation.settings import SettingsError


class Lazy(NamedTuple):
    """Where a subcommand lives, and its line in the help."""

    module: str
    attribute: str
    summary: str


COMMANDS = {
    "up": Lazy("gateway.cli.stack", "up", "Start the embedded stack and serve until Ctrl-C."),
    "down": Lazy("gateway.cli.stack", "down", "End the stack that runs on a state folder."),
    "status": Lazy("gateway.cli.stack", "status", "Show the stack's processes and addresses."),
    "reset": Lazy("gateway.cli.stack", "reset", "Throw the state folder away: every row, key and log in it."),
    "stack": Lazy("gateway.cli.stack", "stack", "Start or stop single processes of the running stack."),
    "tour": Lazy("gateway.cli.tour", "tour", "Play the product end to end on a running stack."),
    "rules": Lazy("gateway.cli.rules", "rules", "Check, explain, test and change what decides."),
    "directory": Lazy("gateway.cli.directory", "directory", "Ask the directory: who is where, since when, why."),
    "access": Lazy(
        "gateway.cli.access", "access", "Ask for access to people's data, decide about it, end it, look at it."
    ),
    "egress": Lazy("gateway.cli.egress", "egress", "Release tables across borders as contracts say; verify releases."),
    "ledger": Lazy(
        "gateway.cli.ledger", "ledger", "Show, prove, verify and export the logs of cells and of the directory."
    ),
    "load": Lazy("gateway.cli.load", "load", "Put load on a deployment and prove that no promise was broken."),
    "records": Lazy("gateway.cli.records", "records", "Read a person's rows; check, generate and compare contracts."),
}


class LazyGroup(click.Group):
    """Knows names and summaries; imports a subcommand only to run it or to show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        lazy = COMMANDS.get(cmd_name)
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
            formatter.write_dl([(name, lazy.summary) for name, lazy in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """A setting or state that does not hold is one line and exit status 1; wrong usage is click's own 2."""
        try:
            return super().invoke(ctx)
        except SettingsError as exc:
            raise click.ClickException(str(exc)) from exc


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="domicile", prog_name="domicile")
def cli() -> None:
    """The data-residency gateway: requests are served, and rows stored, where a person's legal home is."""


def main() -> None:
    cli(prog_name="domicile")


if __name__ == "__main__":
    main()
