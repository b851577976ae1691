"""`domicile access request | edit | close | certificate | check`: what an engineer does."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cells.breakglass.words import MINUTES_USUAL, Purpose
from foundation.settings import SettingsError
from gateway.cli.access.telling import tell
from gateway.cli.access.which import CERTIFY_S_MAX, Asker, asker_option, id_argument
from gateway.cli.options import json_option, print_json, utc

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path, dir_okay=False)
PEM_BYTES_MAX = 65_536


def _terms(command: F) -> F:
    for option in (
        click.option("--reason", required=True, help="Why, in a line; it stands in the ledger."),
        click.option("--minutes", type=int, default=MINUTES_USUAL, show_default=True, help="How long, at most 60."),
        click.option("--ticket", required=True, help="The ticket it is about; it must be open."),
        click.option("--purpose", required=True, type=click.Choice([one.value for one in Purpose]), help="What for."),
        click.option("--subjects", required=True, help="Whose data: subject ids with commas between."),
    ):
        command = option(command)
    return command


def _body(subjects: str, given: dict[str, Any]) -> dict[str, Any]:
    return {"subjects": [one.strip() for one in subjects.split(",") if one.strip()], **given}


@click.command()
@_terms
@click.option("--emergency", is_flag=True, help="Approved at once by yourself, at most 30 minutes; everybody is told.")
@click.option("--on-call", type=FILE, help="With --emergency: the file with the signed statement of being on call.")
@asker_option("engineer")
@json_option
def request(subjects: str, emergency: bool, on_call: Path | None, asker: Asker, as_json: bool, **terms: Any) -> None:
    """Ask for access."""
    body: dict[str, Any] = {"terms": _body(subjects, terms)}
    if emergency:
        body["on_call"] = asker.on_call_proof(on_call)
    tell(asker.post("/grants", body), as_json=as_json)


@click.command()
@id_argument("grant")
@_terms
@asker_option("engineer")
@json_option
def edit(grant: str, subjects: str, asker: Asker, as_json: bool, **terms: Any) -> None:
    """Ask for something else under the same id. Approvals begin anew."""
    tell(asker.post(f"/grants/{grant}/edit", {"terms": _body(subjects, terms)}), as_json=as_json)


@click.command()
@id_argument("grant")
@click.option("--reason", required=True, help="Why.")
@asker_option("engineer")
@json_option
def close(grant: str, reason: str, asker: Asker, as_json: bool) -> None:
    """End your own request or grant."""
    tell(asker.post(f"/grants/{grant}/close", {"reason": reason}), as_json=as_json)


@click.command()
@id_argument("grant")
@click.option("--shard", help="Which shard; needed where the subjects live on several.")
@click.option("--out", type=FILE, required=True, help="Where the certificate goes.")
@click.option(
    "--key-out",
    type=FILE,
    required=True,
    help="Where its new private key goes (mode 0600); it stays here. PEM, or DER where it ends in .pk8, as pgjdbc reads it.",
)
@asker_option("engineer")
@json_option
def certificate(grant: str, shard: str | None, out: Path, key_out: Path, asker: Asker, as_json: bool) -> None:
    """Get a certificate under an approved grant.

    It is signed once the approval stands in the cell's signed checkpoint. The key is made here and leaves this machine never.
    """
    if out.exists() or out == key_out:
        raise SettingsError(f"{out} is there already, or is where the key goes, and is not written over")
    key = ec.generate_private_key(ec.SECP256R1())
    asked = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    body: dict[str, Any] = {"request": asked.public_bytes(serialization.Encoding.PEM).decode()}
    if shard is not None:
        body["shard"] = shard
    encoding = serialization.Encoding.DER if key_out.suffix == ".pk8" else serialization.Encoding.PEM
    made = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write_new(key_out, made, 0o600)
    try:
        told = asker.post(f"/grants/{grant}/certificate", body, timeout_s=CERTIFY_S_MAX)
    except SettingsError:
        key_out.unlink(missing_ok=True)
        raise
    _write_new(out, told["certificate"].encode(), 0o644)
    if as_json:
        print_json({"certificate": str(out), "key": str(key_out), "told": told["told"]})
        return
    tell(told["told"], as_json=False)
    click.echo(f"certificate: {out}, key: {key_out}")


@click.command()
@click.argument("file", type=FILE)
@asker_option("engineer")
@json_option
def check(file: Path, asker: Asker, as_json: bool) -> None:
    """Ask the cell what the certificate in FILE opens now.

    Exit status 1 where it opens nothing. The first time that one is shown is recorded.
    """
    try:
        with file.open("rb") as opened:
            pem = opened.read(PEM_BYTES_MAX).decode("ascii")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{file} cannot be read as a certificate in PEM") from exc
    told = asker.post("/check", {"certificate": pem})
    if as_json:
        print_json(told)
        return
    tell(told["told"], as_json=False)
    click.echo(f"opens shard {told['shard']} until {utc(told['until'])} UTC")


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Raises SettingsError: also where it is there already."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as exc:
        raise SettingsError(f"{path} is there already, and is not written over") from exc
    except OSError as exc:
        raise SettingsError(f"{path} cannot be written ({exc.strerror})") from exc
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
