"""`domicile ledger key`: a new key for a new log."""

import os
import secrets
from pathlib import Path
from typing import Any

import click

from foundation.ledger.notes import MalformedKey, PrivateKey, Signer
from foundation.mute import Secret
from foundation.settings import SettingsError
from gateway.cli.options import json_option, print_json


@click.command()
@click.argument("origin")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The new file, of mode 0600."
)
@json_option
def key(origin: str, out: Path, as_json: bool) -> None:
    """Make the key of a log that will be called ORIGIN, such as ledger.example.com/eu-de.

    The private key goes into a file for the `key_file` of settings; the public one is printed, for whoever verifies.
    """
    make(Signer, origin, "log", out, as_json)


def make(kind: type[PrivateKey[Any]], name: str, what: str, out: Path, as_json: bool) -> None:
    """Raises SettingsError."""
    try:
        signer = kind(name, Secret(secrets.token_bytes(32)))
    except MalformedKey as exc:
        raise SettingsError(f"{name!r} cannot be the name of a {what}: {exc}") from exc
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as exc:
        raise SettingsError(f"{out} is there already; a key is not written over") from exc
    except OSError as exc:
        raise SettingsError(f"{out} cannot be written ({exc.strerror})") from exc
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{signer.text.reveal()}\n")
    if as_json:
        print_json({"origin" if what == "log" else "name": name, "file": str(out), "public": signer.verifier.text})
        return
    click.echo(signer.verifier.text)
