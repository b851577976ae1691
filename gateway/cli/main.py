"""The `domicile` command."""

import importlib
import importlib.metadata

import click

from foundation.compiled import form
from gateway.cli.lazy import Lazy, LazyGroup

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


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    """Prints it, and whether the proxied path of this installation is compiled: that is known once it is imported."""
    if not asked or ctx.resilient_parsing:
        return
    importlib.import_module("gateway.__main__")
    click.echo(f"domicile, version {importlib.metadata.version('domicile')} ({form()})")
    ctx.exit()


@click.group(
    cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version and exit."
)
def cli() -> None:
    """The data-residency gateway: requests are served, and rows stored, where a person's legal home is."""


def main() -> None:
    cli(prog_name="domicile")


if __name__ == "__main__":
    main()
