"""What a server keeps of a password for SCRAM-SHA-256 (RFC 5803, as Postgres writes it), so that no statement holds the password. Pure."""

import base64
import hashlib
import hmac

from foundation.mute import Secret

ITERATIONS = 4096
"""Postgres' own number. The passwords are keys of 256 bits, which no number of rounds makes harder to guess."""


def verifier(password: Secret[str], salt: bytes) -> str:
    """`password`: ASCII letters, digits, - and _, which SASLprep leaves as they are. `salt`: 16 bytes by chance."""
    salted = hashlib.pbkdf2_hmac("sha256", password.reveal().encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${ITERATIONS}:{_text(salt)}${_text(stored)}:{_text(server)}"


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
