"""Keys of tokens: one for each cell and purpose, so that tokens of two cells or two purposes join nowhere, but where a join key is granted.

HKDF (RFC 5869) with SHA-256 over the cell's root or the join key; its `info` names what the key is for. Pure.
"""

from collections.abc import Mapping

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from foundation.mute import Secret
from foundation.words import CellId

KEY_BYTES = 32
_OWN = b"domicile egress token v1"
_JOINED = b"domicile egress join v1"
_CHECKED = b"domicile egress check v1"
CHECK_CHARS = 16


def token_key(root: Secret[bytes], cell: CellId, purpose: str) -> Secret[bytes]:
    """The key of this cell and purpose alone."""
    return _derived(root, _OWN, cell, purpose)


def join_key(granted: Secret[bytes], name: str) -> Secret[bytes]:
    """The key of everybody who was granted the join of that name, whatever cell and purpose."""
    return _derived(granted, _JOINED, name)


def keys_for(
    root: Secret[bytes], cell: CellId, purpose: str, joins: Mapping[str, Secret[bytes]]
) -> dict[str | None, Secret[bytes]]:
    """By join name; None: no join."""
    own: dict[str | None, Secret[bytes]] = {None: token_key(root, cell, purpose)}
    return own | {name: join_key(key, name) for name, key in joins.items()}


def check_of(keys: Mapping[str | None, Secret[bytes]]) -> str:
    """Says whether two releases were made under the same keys, and nothing of the keys."""
    ordered = sorted(keys.items(), key=lambda one: one[0] or "")
    held = Secret(b"".join((name or "").encode() + b"=" + key.reveal() for name, key in ordered))
    return _derived(held, _CHECKED).reveal().hex()[:CHECK_CHARS]


def _derived(key: Secret[bytes], *parts: bytes | str) -> Secret[bytes]:
    """Parts are kept apart by their lengths, so that no two lists of them are one `info`."""
    raw = [part.encode() if isinstance(part, str) else part for part in parts]
    info = b"".join(len(part).to_bytes(4, "big") + part for part in raw)
    derived = HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info).derive(key.reveal())
    return Secret(derived)
