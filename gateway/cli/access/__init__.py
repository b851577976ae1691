"""`domicile access`: break-glass of a cell, asked for, decided, used, looked at."""

import click

from gateway.cli.access.asking import certificate, check, close, edit, request
from gateway.cli.access.deciding import approve, deny, review, revoke
from gateway.cli.access.keeping import authority, exempt, lock, locks, prepare, unlock, withdraw
from gateway.cli.access.looking import audit_roles, list_, report, show
from gateway.cli.access.psql import psql
from gateway.cli.access.reconciling import reconcile
from gateway.cli.access.replaying import replay


@click.group()
def access() -> None:
    """Ask for access to people's data, decide about it, end it, look at it.

    On the stack of --state commands run as the engineer that --as names; elsewhere --url names the cell's service and --token-file holds a
    token of the engineers' sign-in.
    """


for command in (request, edit, close, certificate, check, psql, approve, deny, revoke, review, list_, show, report):
    access.add_command(command)
for command in (replay, reconcile, audit_roles, locks, lock, unlock, exempt, withdraw, authority, prepare):
    access.add_command(command)

__all__ = ["access"]
