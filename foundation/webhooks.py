"""Webhooks that their receivers can tell from anybody else's: HMAC-SHA-256 as Standard Webhooks has it
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), which libraries of most languages check.
"""

import base64
import binascii
import hmac
from pathlib import Path

from foundation.clock import Clock
from foundation.settings import SettingsError, read_secret

PREFIX = "whsec_"
KEY_BYTES_MIN, KEY_BYTES_MAX = 24, 64
KEYS_MAX = 4
"""In one file. Each signs, so that a receiver may change its own while both hold."""


class Signing:
    """By the keys of a file (mode 0600; `whsec_` and base64, a line each), which is read again each time."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def headers(self, message_id: str, body: bytes) -> dict[str, str]:
        """What goes with a message: its id, the same for each attempt; when it was sent; a signature by each key. Raises SettingsError."""
        sent = str(int(self._clock.unix_s()))
        signed = b".".join((message_id.encode(), sent.encode(), body))
        lines = (hmac.digest(key, signed, "sha256") for key in keys_in(self._path))
        return {
            "webhook-id": message_id,
            "webhook-timestamp": sent,
            "webhook-signature": " ".join(f"v1,{base64.b64encode(line).decode()}" for line in lines),
        }


def keys_in(path: Path) -> list[bytes]:
    """Raises SettingsError."""
    lines = read_secret(path).reveal().split()
    try:
        found = [base64.b64decode(line.removeprefix(PREFIX.encode()), validate=True) for line in lines]
    except binascii.Error as exc:
        raise SettingsError(f"secret file {path} holds no keys of webhooks: {PREFIX} and base64, a line each") from exc
    if not 1 <= len(found) <= KEYS_MAX or not all(KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX for key in found):
        raise SettingsError(
            f"secret file {path} holds 1 to {KEYS_MAX} keys of {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes"
        )
    return found
