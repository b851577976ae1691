"""`domicile rules`: what a policy and the law answer, on files; and the rules of a running stack: shown, changed, rolled back."""

import click

from gateway.cli.rules.casework import run_cases
from gateway.cli.rules.check import check
from gateway.cli.rules.diff import diff
from gateway.cli.rules.digest import digest
from gateway.cli.rules.duties import obligations
from gateway.cli.rules.explain import explain
from gateway.cli.rules.published import apply, history, rollback, show

__all__ = ["rules"]


@click.group()
def rules() -> None:
    """Residency rules: check, explain and change what decides (not legal advice)."""


for command in (check, run_cases, explain, diff, obligations, digest, apply, history, rollback, show):
    rules.add_command(command)
