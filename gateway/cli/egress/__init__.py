"""`domicile egress`: what would leave a cell for a destination, and as what; releases, and the proof of them."""

import click

from gateway.cli.egress.explain import explain
from gateway.cli.egress.plan import plan
from gateway.cli.egress.run import run
from gateway.cli.egress.status import status
from gateway.cli.egress.verify import verify


@click.group()
def egress() -> None:
    """Plan, run, explain and verify releases: tables that leave a cell as their contracts say."""


for command in (plan, run, status, explain, verify):
    egress.add_command(command)
