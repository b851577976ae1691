"""`domicile egress verify`: a release held against its manifest, signature and ledger, offline."""

from pathlib import Path
from typing import Any

import click

from cells.egress.manifest import ManifestRefused
from cells.egress.verify import Shown
from cells.egress.verify import verify as verified
from foundation.ledger.witness.settings import verifier_in
from foundation.settings import SettingsError
from gateway.cli.options import json_option, print_json

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("release", type=click.Path(path_type=Path, exists=True))
@click.option("--key", type=FILE, required=True, help="File with the public key of the cell's releases.")
@click.option("--proof", type=FILE, help="The .tlog-proof of the release's event, from `domicile ledger prove`.")
@click.option("--payload", type=FILE, help="With --proof: what its entry commits to.")
@click.option("--log-key", type=FILE, help="With --proof: file with the log's public key.")
@json_option
def verify(
    release: Path, key: Path, proof: Path | None, payload: Path | None, log_key: Path | None, as_json: bool
) -> None:
    """Verify RELEASE: its folder, or any file of it. Needs neither network nor stack. Exit status 1 where something does not hold."""
    try:
        found = verified(release, verifier_in(key), _shown(proof, payload, log_key))
    except ManifestRefused as exc:
        raise SettingsError(f"does not hold: {exc}") from exc
    except OSError as exc:
        raise SettingsError(f"{release} cannot be read ({exc.strerror})") from exc
    document = found.document
    said: dict[str, Any] = {"id": document["id"], "parts": found.parts, "rows": found.rows, "bytes": found.bytes}
    if as_json:
        print_json({**said, "logged": found.logged})
        return
    where = f"; entry {found.logged} of the log" if found.logged is not None else "; held against no log"
    click.echo(f"{document['id']}: {found.rows:,} rows in {found.parts} parts, as they were signed{where}")


def _shown(proof: Path | None, payload: Path | None, log_key: Path | None) -> Shown | None:
    if proof is None and payload is None and log_key is None:
        return None
    if proof is None or payload is None or log_key is None:
        raise click.UsageError("--proof, --payload and --log-key go together")
    return Shown(_bytes_in(proof), _bytes_in(payload), verifier_in(log_key))


def _bytes_in(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise SettingsError(f"{file} cannot be read ({exc.strerror}); `domicile ledger prove` writes it") from exc
