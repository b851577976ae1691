"""Blinding: personal identifiers become lookup keys under a key that the directory never holds.

`lookup key = BLAKE2b-192(key, namespace ‖ kind ‖ normalised value)` (RFC 7693 keyed mode), each part prefixed with its length so
that no two triples share an encoding. A keyring holds the live keys; the first is used for new claims, all are claimed and asked.
"""

import base64
import functools
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from foundation.identifiers import Identifier, IdentifierKind, parse
from foundation.mute import Secret
from foundation.words import LookupKey

KEY_BYTES = 32
_DIGEST_BYTES = 24

LOGIN = "login"
"""Kind of an issuer + sub pair; the namespace is the issuer."""
EMAIL = IdentifierKind.EMAIL.value
"""Kind of an e-mail alias; the namespace is the product."""

HEADS_MAX = 256
"""Pairs of namespace and kind whose bytes are remembered."""


class BlindingKey(msgspec.Struct, frozen=True):
    kid: str
    key: Secret[bytes]


class Blinder:
    """Turns identifiers into lookup keys under every live blinding key, newest first. Pure."""

    def __init__(self, keys: tuple[BlindingKey, ...]) -> None:
        if not keys:
            raise ValueError("a blinder needs at least one key")
        for key in keys:
            if len(key.key.reveal()) != KEY_BYTES:
                raise ValueError(f"blinding key {key.kid} is not {KEY_BYTES} bytes long")
        self.kids = tuple(key.kid for key in keys)
        """Which key each lookup key of an answer was made under, in the same order."""
        self._keys = tuple(key.key.reveal() for key in keys)

    def blind(self, namespace: str, kind: str, value: str) -> tuple[LookupKey, ...]:
        """One lookup key per live blinding key, newest first. `value` is normalised by the caller."""
        message = _head(namespace, kind) + _prefixed(value)
        return tuple(_mac(key, message) for key in self._keys)

    def blind_all(self, namespace: str, kind: str, values: Sequence[str]) -> list[bytes]:
        """The lookup keys of many of one kind, for each those under every live blinding key one after the other, not yet as text
        (`text_of`)."""
        encoded = [value.encode("utf-8", "surrogatepass") for value in values]
        prefixes = {length: length.to_bytes(4, "big") for length in set(map(len, encoded))}
        messages = [prefixes[len(one)] + one for one in encoded]
        columns = [_macs(key, _head(namespace, kind), messages) for key in self._keys]
        return columns[0] if len(columns) == 1 else list(map(b"".join, zip(*columns, strict=True)))

    def login(self, issuer: str, sub: str) -> tuple[LookupKey, ...]:
        return self.blind(issuer, LOGIN, sub)

    def alias(self, identifier: Identifier) -> tuple[LookupKey, ...]:
        return self.blind(identifier.namespace, identifier.kind.value, identifier.value.reveal())

    def email(self, address: str) -> tuple[LookupKey, ...]:
        """Raises MalformedIdentifier."""
        return self.alias(parse(IdentifierKind.EMAIL, address))


@functools.lru_cache(maxsize=HEADS_MAX)
def _head(namespace: str, kind: str) -> bytes:
    """What all identifiers of one issuer or product begin with; nothing personal is remembered."""
    return _prefixed(namespace) + _prefixed(kind)


def _prefixed(part: str) -> bytes:
    # A JSON string may hold half a surrogate pair; such a value is blinded like any other instead of being a fault.
    encoded = part.encode("utf-8", "surrogatepass")
    return len(encoded).to_bytes(4, "big") + encoded


def text_of(keys: bytes) -> bytes:
    """Lookup keys that stand one after the other, as text: 32 characters each."""
    return base64.urlsafe_b64encode(keys)


def _mac(key: bytes, message: bytes) -> LookupKey:
    digest = blake2b(message, key=key, digest_size=_DIGEST_BYTES).digest()
    return LookupKey(text_of(digest).decode("ascii"))


def _macs(key: bytes, head: bytes, rests: Sequence[bytes]) -> list[bytes]:
    """Of messages that begin alike; key and beginning are taken in once."""
    begun = blake2b(head, key=key, digest_size=_DIGEST_BYTES)
    macs = []
    for one in rests:
        mac = begun.copy()
        mac.update(one)
        macs.append(mac.digest())
    return macs
