"""`domicile records contracts`: contracts held against files, live tables, and one another."""

import click

from gateway.cli.contracts.check import check
from gateway.cli.contracts.diff import diff
from gateway.cli.contracts.generate import generate

__all__ = ["contracts"]


@click.group()
def contracts() -> None:
    """Check contracts, write them, see what a change opens."""


for command in (check, generate, diff):
    contracts.add_command(command)
