"""The stack's break-glass: an authority for each cell, a file of tickets, a key that signs exceptions, and the settings that name them.

Whoever holds the stack's folder can be any engineer of it (`domicile access … --as NAME`): four eyes are two people only where they sign in
at an issuer of their own.
"""

import datetime
import ipaddress
import secrets
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cells.breakglass.certificates.authority import AUTHORITY_DAYS, made
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


def door_key(paths: Paths, cell: str) -> Path:
    return paths.secrets / f"cell-{cell}.door-key"


def door_certificate(paths: Paths, cell: str) -> Path:
    """What the cell's SQL door shows; its own authority, for clients' `sslrootcert`."""
    return paths.state / "access" / f"{cell}.door.pem"


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
        key, certificate = door_key(paths, cell), door_certificate(paths, cell)
        if not key.exists() or not certificate.exists():
            secret, public = _of_loopback(f"domicile SQL door {cell}", at_us)
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


def settings(paths: Paths, cell: str, door: int) -> dict[str, Any]:
    """`[access]` of a cell's settings. `door`: the port of its SQL door. Pure."""
    jwks = str(paths.service_jwks)
    return {
        "issuer": {"issuer": SERVICE_ISSUER, "audience": audience(cell), "jwks": jwks},
        "on_call": {"issuer": SERVICE_ISSUER, "audience": duty_audience(cell), "jwks": jwks},
        "authority_key": str(authority_key(paths, cell)),
        "authority_certificate": str(authority_certificate(paths, cell)),
        "tickets": {"file": str(tickets(paths))},
        "exception_keys": [str(exceptions_public(paths))],
        "logins": [SUPERUSER],
        "door": {
            "host": "127.0.0.1",
            "port": door,
            "tls": {"certificate": str(door_certificate(paths, cell)), "key": str(door_key(paths, cell))},
        },
    }


def _of_loopback(name: str, at_us: int) -> tuple[Secret[bytes], bytes]:
    """A key and a certificate by itself for this machine's own address, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    since = datetime.datetime.fromtimestamp(at_us // 1_000_000, datetime.UTC)
    addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(since + datetime.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Secret(pem), certificate.public_bytes(serialization.Encoding.PEM)
