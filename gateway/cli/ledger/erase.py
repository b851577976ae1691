"""`domicile ledger erase`: every payload of a log that speaks of a subject, overwritten by the process that keeps it."""

from pathlib import Path
from typing import Any

import click

from foundation.settings import SettingsError
from gateway.cli.client import Service, refuse_unless_running
from gateway.cli.directory.subjects import parsed_subject
from gateway.cli.ledger.which import keeper_of
from gateway.cli.options import json_option, print_json, state_option
from gateway.cli.reach import token_of

ASKED_MAX = 600
"""Questions, each of which waits some seconds for the end; the job goes on without them."""


@click.command()
@click.argument("log")
@click.option("--subject", required=True, help="The subject id whose payloads go.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With a URL: the file that holds a service token of role operator.",
)
@state_option
@json_option
def erase(log: str, subject: str, token_file: Path | None, state: Path, as_json: bool) -> None:
    """Overwrite every payload of LOG that speaks of a subject: in it as its subject, as who acted, in its id or in its details.

    LOG is `directory` or a cell of the running stack, or a URL such as https://cell.internal:7440/ledger. Entries, hashes and proofs stay
    as they are. The process that keeps the log does it, goes on where a restart left it, and records it without naming the subject.
    What is recorded after this was asked for stays, as that of a break-glass session which is still open.
    Payloads in backups, in exports and in outboxes are not touched.
    """
    asked = {"subject_id": parsed_subject(subject)}
    keeper, prefix = _keeper(log, token_file, state)
    told = keeper.post(f"{prefix}/erasures", asked)
    done = _done(keeper, prefix, told)
    if as_json:
        print_json(done)
        return
    click.echo(f"{done['erased']:,} payloads erased among {done['through']:,} entries")


def _done(keeper: Service, prefix: str, told: dict[str, Any]) -> dict[str, Any]:
    for _ in range(ASKED_MAX):
        if told["done"]:
            return told
        told = keeper.get(f"{prefix}/erasures/{told['id']}")
    raise SettingsError(f"erasure {told['id']} is still under way and goes on by itself")


def _keeper(log: str, token_file: Path | None, state: Path) -> tuple[Service, str]:
    """Raises SettingsError."""
    if log.startswith(("http://", "https://")):
        if token_file is None:
            raise SettingsError("a URL goes with --token-file FILE")
        return Service(log.rstrip("/"), token_of(token_file), hint="is it the address of a log?"), ""
    refuse_unless_running(state)
    return keeper_of(log, state), "/ledger"
