"""`domicile ledger`: the logs of cells and of the directory, shown, proved from, verified, given out, erased from; their witnesses."""

import click

from gateway.cli.ledger.erase import erase
from gateway.cli.ledger.export import export
from gateway.cli.ledger.key import key
from gateway.cli.ledger.prove import prove
from gateway.cli.ledger.show import show
from gateway.cli.ledger.verify import verify
from gateway.cli.ledger.witness import witness


@click.group()
def ledger() -> None:
    """Read the logs of cells and of the directory, prove what stands in them, verify them, give them out, erase from them; run witnesses of
    them.

    LOG is `directory` or a cell of the stack in --state, a folder, or a URL such as https://cell.internal:7440/ledger.
    """


ledger.add_command(show)
ledger.add_command(prove)
ledger.add_command(verify)
ledger.add_command(export)
ledger.add_command(erase)
ledger.add_command(key)
ledger.add_command(witness)

__all__ = ["ledger"]
