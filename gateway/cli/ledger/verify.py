"""`domicile ledger verify`: a whole log, or one proof, held against the log's key."""

from pathlib import Path
from typing import Any

import click
import msgspec

from foundation.ledger import checkpoints, entries, proofs
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.notes import Verifier
from foundation.settings import SettingsError
from gateway.cli.ledger.which import Asked, told, which_option
from gateway.cli.options import json_option, print_json, utc

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("target")
@click.option("--since", type=FILE, help="A checkpoint that was believed before: the log must go on from it.")
@click.option("--save", type=FILE, help="Write the checkpoint that was verified, for the next --since.")
@click.option("--payload", "payload_file", type=FILE, help="With a proof: what its entry commits to.")
@which_option
@json_option
def verify(
    target: str,
    since: Path | None,
    save: Path | None,
    payload_file: Path | None,
    which: Asked,
    as_json: bool,
) -> None:
    """Verify TARGET: a log, or a .tlog-proof file.

    Of a log every entry, tile and payload is read, and the root computed anew. Without --since that says the log is whole, not that it
    is the one that was shown before. Exit status 1 where something does not hold.
    """
    proof_file = Path(target)
    if proof_file.is_file():
        _verify_proof(proof_file, which.verifier(), payload_file, as_json)
        return
    chosen = which.log(target)
    with told():
        earlier = None if since is None else _checkpoint_in(since, chosen.verifier)
        reader = chosen.reader()
        found = reader.verify(earlier, chosen.folder)
    chosen.state_reading("verify", 0, found.size, payloads=chosen.folder is not None)
    if save is not None:
        try:
            save.write_bytes(reader.signed)
        except OSError as exc:
            raise SettingsError(f"{save} cannot be written ({exc.strerror})") from exc
    if as_json:
        print_json(found)
        return
    before = "held against no earlier checkpoint" if earlier is None else f"goes on from {earlier.size:,} entries"
    beside = "" if chosen.folder is None else f", {found.payloads:,} payloads fit, {found.without:,} are not here"
    click.echo(f"{found.origin}: {found.size:,} entries, root {found.root}; {before}{beside}")


def _verify_proof(file: Path, verifier: Verifier, payload_file: Path | None, as_json: bool) -> None:
    with told():
        proof = proofs.parse(file.read_bytes())
        checkpoint = proof.verify(verifier)
        entry = entries.parse(proof.entry)
        payload = None if payload_file is None else entries.opened(entry, payload_file.read_bytes())
    told_of: dict[str, Any] = {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "index": proof.index,
        "entry": msgspec.structs.asdict(entry),
        "payload": None if payload is None else msgspec.json.decode(msgspec.json.encode(payload)),
    }
    if as_json:
        print_json(told_of)
        return
    click.echo(
        f"entry {proof.index} of {checkpoint.size:,} in {checkpoint.origin}: {entry.kind}, {utc(entry.at_us / 1e6)} UTC"
    )
    if payload is not None:
        click.echo(f"{payload.id} by {payload.actor}, of {payload.subject_id}: {bytes(payload.details).decode()}")


def _checkpoint_in(file: Path, verifier: Verifier) -> Checkpoint:
    return checkpoints.opened(file.read_bytes(), verifier)
