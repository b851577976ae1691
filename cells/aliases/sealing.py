"""An alias as bytes that only this cell can read: AES-256-GCM (NIST SP 800-38D) under a key derived from the cell's root.

`<kid>.<nonce, 12 bytes><ciphertext>`; the claim's id is authenticated beside it, so a row's alias cannot be put into another row.
"""

import secrets
from collections.abc import Sequence

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from foundation.decision import RootKey
from foundation.decision_header import derive
from foundation.identifiers import Identifier, IdentifierKind
from foundation.mute import Personal

_NONCE_BYTES = 12
_LABEL = "domicile/alias-seal"


class _Plain(msgspec.Struct, frozen=True):
    kind: IdentifierKind
    namespace: str
    value: str


class Sealer:
    """Seals under the first root, opens under any."""

    def __init__(self, roots: Sequence[RootKey]) -> None:
        self._keys = {root.kid.encode(): AESGCM(derive(root.key.reveal(), _LABEL)) for root in roots}
        self._current = roots[0].kid.encode()

    def seal(self, claim_id: str, identifier: Identifier) -> bytes:
        plain = _Plain(identifier.kind, identifier.namespace, identifier.value.reveal())
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._keys[self._current].encrypt(nonce, msgspec.json.encode(plain), claim_id.encode())
        return self._current + b"." + nonce + sealed

    def open(self, claim_id: str, sealed: bytes) -> Identifier | None:
        """None where the root that it was sealed under is gone, or it is damaged."""
        kid, _, rest = sealed.partition(b".")
        key = self._keys.get(kid)
        if key is None or len(rest) < _NONCE_BYTES:
            return None
        try:
            raw = key.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], claim_id.encode())
        except InvalidTag:
            return None
        plain = msgspec.json.decode(raw, type=_Plain)
        return Identifier(plain.kind, plain.namespace, Personal(plain.value))
