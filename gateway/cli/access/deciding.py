"""`domicile access approve | deny | revoke | review`: what others decide."""

import click

from cells.breakglass.words import Verdict
from gateway.cli.access.telling import tell
from gateway.cli.access.which import Asker, asker_option, id_argument
from gateway.cli.options import json_option


@click.command()
@id_argument("grant")
@click.option("--version", type=int, required=True, help="The version that you looked at: another is not approved.")
@asker_option("approver")
@json_option
def approve(grant: str, version: int, asker: Asker, as_json: bool) -> None:
    """Approve a request of somebody else, as it stood when you looked at it."""
    tell(asker.post(f"/grants/{grant}/approve", {"version": version}), as_json=as_json)


@click.command()
@id_argument("grant")
@click.option("--reason", required=True, help="Why.")
@asker_option("approver")
@json_option
def deny(grant: str, reason: str, asker: Asker, as_json: bool) -> None:
    """Deny a request of somebody else; nobody approves it any more."""
    tell(asker.post(f"/grants/{grant}/deny", {"reason": reason}), as_json=as_json)


@click.command()
@id_argument("grant")
@click.option("--reason", required=True, help="Why.")
@asker_option("approver")
@json_option
def revoke(grant: str, reason: str, asker: Asker, as_json: bool) -> None:
    """End a grant; its certificates open nothing from then on."""
    tell(asker.post(f"/grants/{grant}/revoke", {"reason": reason}), as_json=as_json)


@click.command()
@id_argument("grant")
@click.option("--verdict", required=True, type=click.Choice([one.value for one in Verdict]), help="What you find.")
@click.option("--note", required=True, help="In a line.")
@asker_option("approver")
@json_option
def review(grant: str, verdict: str, note: str, asker: Asker, as_json: bool) -> None:
    """Review an emergency; due within a day."""
    tell(asker.post(f"/grants/{grant}/review", {"verdict": verdict, "note": note}), as_json=as_json)
