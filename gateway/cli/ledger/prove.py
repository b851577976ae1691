"""`domicile ledger prove`: a file by which somebody who knows the log's key sees that an event stands in it."""

from pathlib import Path

import click

from foundation.ledger import payloads
from foundation.settings import SettingsError
from gateway.cli.ledger.which import Asked, told, which_option
from gateway.cli.options import json_option, print_json


@click.command()
@click.argument("log")
@click.argument("event")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Default: entry-<index>.tlog-proof, here.")
@click.option(
    "--payload",
    "payload_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what the entry commits to besides: salt and payload, for those who may see it.",
)
@which_option
@json_option
def prove(log: str, event: str, out: Path | None, payload_file: Path | None, which: Asked, as_json: bool) -> None:
    """Write the proof that EVENT, by its id, stands in LOG.

    The file has the entry, its place, the hashes up to the root and the signed checkpoint (https://c2sp.org/tlog-proof). The log is
    read from its end, so an old event takes longer to find than a new one.
    """
    chosen = which.log(log)
    with told():
        reader = chosen.reader()
        found = reader.find(event)
        if found is None:
            raise SettingsError(f"no entry of {reader.checkpoint.origin} is of event {event}")
        proof = reader.prove(found)
        checkpoint = proof.verify(chosen.verifier)
        opening = None if chosen.folder is None else payloads.read(chosen.folder, found.index)
    if payload_file is not None and opening is None:
        raise SettingsError(f"the payload of entry {found.index} is not here")
    chosen.state_reading("prove", found.index, 1, payloads=payload_file is not None)
    target = out or Path(f"entry-{found.index}.tlog-proof")
    _write(target, proof.render())
    if payload_file is not None and opening is not None:
        _write(payload_file, opening)
    if as_json:
        print_json({"origin": checkpoint.origin, "size": checkpoint.size, "index": found.index, "file": str(target)})
        return
    click.echo(f"entry {found.index} of {checkpoint.size:,} in {checkpoint.origin}: {target}")


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as exc:
        raise SettingsError(f"{path} cannot be written ({exc.strerror})") from exc
