"""The stack's break-glass: an authority for each cell, a file of tickets, a key that signs exceptions, and the settings that name them.

Whoever holds the stack's folder can be any engineer of it (`domicile access … --as NAME`): four eyes are two people only where they sign in
at an issuer of their own.
"""

import secrets
from pathlib import Path
from typing import Any

import msgspec

from cells.breakglass.certificates.authority import made
from deploy.local import files
from deploy.local.layout import SERVICE_AUDIENCE, SERVICE_ISSUER, SUPERUSER, Paths
from foundation.ledger.notes import MalformedKey, Signer
from foundation.mute import Secret
from foundation.settings import SettingsError
from foundation.words import CellId

DEMO_TICKET = "DEMO-1"
EXCEPTIONS_OWNER = "domicile.local/security"


def audience(cell: str) -> str:
    """Whom a token is for that lets an engineer ask one cell for access."""
    return f"{SERVICE_AUDIENCE}:access:{cell}"


def duty_audience(cell: str) -> str:
    """Whom a statement of being on call is for."""
    return f"{SERVICE_AUDIENCE}:on-call:{cell}"


def authority_key(paths: Paths, cell: str) -> Path:
    return paths.secrets / f"cell-{cell}.ca-key"


def authority_certificate(paths: Paths, cell: str) -> Path:
    return paths.state / "access" / f"{cell}.ca.pem"


def tickets(paths: Paths) -> Path:
    return paths.state / "access" / "tickets.json"


def exceptions_key(paths: Paths) -> Path:
    return paths.secrets / "exceptions.key"


def exceptions_public(paths: Paths) -> Path:
    return paths.state / "access" / "exceptions.vkey"


def ensure(paths: Paths, cells: tuple[str, ...], at_us: int) -> None:
    """Makes what is missing. Raises SettingsError, OSError."""
    (paths.state / "access").mkdir(mode=0o700, parents=True, exist_ok=True)
    for cell in cells:
        key, certificate = authority_key(paths, cell), authority_certificate(paths, cell)
        if not key.exists() or not certificate.exists():
            secret, public = made(CellId(cell), at_us)
            files.write(key, secret.reveal())
            files.write(certificate, public, mode=files.OPEN)
    if not tickets(paths).exists():
        files.write(tickets(paths), msgspec.json.encode({DEMO_TICKET: "open"}), mode=files.OPEN)
    if not exceptions_key(paths).exists():
        files.write(exceptions_key(paths), Signer(EXCEPTIONS_OWNER, Secret(secrets.token_bytes(32))).text.reveal())
    files.write_if_changed(exceptions_public(paths), f"{owner(paths).verifier.text}\n", mode=files.OPEN)


def owner(paths: Paths) -> Signer:
    """Who signs exceptions in this stack. Raises SettingsError."""
    path = exceptions_key(paths)
    try:
        return Signer.parse(Secret(path.read_text(encoding="utf-8")))
    except (OSError, MalformedKey, UnicodeDecodeError) as exc:
        raise SettingsError(f"{path} holds no key that signs exceptions") from exc


def settings(paths: Paths, cell: str) -> dict[str, Any]:
    """`[access]` of a cell's settings. Pure."""
    jwks = str(paths.service_jwks)
    return {
        "issuer": {"issuer": SERVICE_ISSUER, "audience": audience(cell), "jwks": jwks},
        "on_call": {"issuer": SERVICE_ISSUER, "audience": duty_audience(cell), "jwks": jwks},
        "authority_key": str(authority_key(paths, cell)),
        "authority_certificate": str(authority_certificate(paths, cell)),
        "tickets": {"file": str(tickets(paths))},
        "exception_keys": [str(exceptions_public(paths))],
        "logins": [SUPERUSER],
    }
