"""`domicile access`: break-glass of a cell, asked for, decided, used, looked at."""

import click

from gateway.cli.lazy import Lazy, LazyGroup

COMMANDS = {
    "request": Lazy("gateway.cli.access.asking", "request", "Ask for access."),
    "edit": Lazy(
        "gateway.cli.access.asking", "edit", "Ask for something else under the same id. Approvals begin anew."
    ),
    "close": Lazy("gateway.cli.access.asking", "close", "End your own request or grant."),
    "certificate": Lazy("gateway.cli.access.asking", "certificate", "Get a certificate under an approved grant."),
    "check": Lazy("gateway.cli.access.asking", "check", "Ask the cell what the certificate in FILE opens now."),
    "psql": Lazy("gateway.cli.access.psql", "psql", "Open psql under an approved grant, through the cell's SQL door."),
    "approve": Lazy(
        "gateway.cli.access.deciding",
        "approve",
        "Approve a request of somebody else, as it stood when you looked at it.",
    ),
    "deny": Lazy(
        "gateway.cli.access.deciding", "deny", "Deny a request of somebody else; nobody approves it any more."
    ),
    "revoke": Lazy("gateway.cli.access.deciding", "revoke", "End a grant; its certificates open nothing from then on."),
    "review": Lazy("gateway.cli.access.deciding", "review", "Review an emergency; due within a day."),
    "list": Lazy(
        "gateway.cli.access.looking", "list_", "List requests and grants, the newest first. Engineers see their own."
    ),
    "show": Lazy("gateway.cli.access.looking", "show", "Show one request or grant."),
    "report": Lazy(
        "gateway.cli.access.looking",
        "report",
        "Report who asked for whose data, why, where from, on whose approval, and saw which columns of it.",
    ),
    "replay": Lazy(
        "gateway.cli.access.replaying",
        "replay",
        "Replay break-glass from the ledger, every entry and payload held against what was signed.",
    ),
    "reconcile": Lazy(
        "gateway.cli.access.reconciling", "reconcile", "Hold the ledger's statements against Postgres' own log."
    ),
    "audit-roles": Lazy(
        "gateway.cli.access.looking", "audit_roles", "Show who may log in to the shards' database servers."
    ),
    "locks": Lazy(
        "gateway.cli.access.keeping", "locks", "List who is locked here and in other cells, and how old that is."
    ),
    "lock": Lazy(
        "gateway.cli.access.keeping",
        "lock",
        "Lock PERSON (engineer:<sub>) out of everything here and in other cells, and what they hold with them.",
    ),
    "unlock": Lazy("gateway.cli.access.keeping", "unlock", "Take the lock of PERSON back that was made in this cell."),
    "exempt": Lazy(
        "gateway.cli.access.keeping", "exempt", "Sign an exception to one rule, and let it count in the cell."
    ),
    "withdraw": Lazy("gateway.cli.access.keeping", "withdraw", "Let an exception count no more."),
    "authority": Lazy(
        "gateway.cli.access.keeping", "authority", "Make the key and certificate of a new authority for CELL."
    ),
    "prepare": Lazy(
        "gateway.cli.access.keeping",
        "prepare",
        "Print the SQL that a superuser runs in each shard's database before the SQL door opens it; again after roles were added.",
    ),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def access() -> None:
    """Ask for access to people's data, decide about it, end it, look at it.

    On the stack of --state commands run as the engineer that --as names; elsewhere --url names the cell's service and --token-file holds a
    token of the engineers' sign-in.
    """


__all__ = ["COMMANDS", "access"]
