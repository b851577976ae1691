"""HMAC-SHA-256 (RFC 2104) under keys that are used often: their two blocks are hashed once, and the states that they leave are kept
(section 4)."""

import hashlib
from typing import Final, TypeAlias

_BLOCK_BYTES: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_States: TypeAlias = "tuple[hashlib._Hash, hashlib._Hash]"  # noqa: SLF001 - typeshed's name of what sha256 gives


def _states(key: bytes) -> _States:
    """Of the inner hash and the outer."""
    short = hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key
    block = short.ljust(_BLOCK_BYTES, b"\0")
    return hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))


class Mac:
    """One key."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        self._inner, self._outer = _states(key)

    def digest(self, message: bytes) -> bytes:
        """What `hmac.digest(key, message, "sha256")` gives."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


class Macs:
    """Two keys under which each message is signed."""

    __slots__ = ("_inner", "_inner_too", "_outer", "_outer_too")

    def __init__(self, key: bytes, other: bytes) -> None:
        self._inner, self._outer = _states(key)
        self._inner_too, self._outer_too = _states(other)

    def digests(self, message: bytes) -> bytes:
        """What `Mac.digest` gives, of each, and a zero byte behind it: then whole groups of three bytes can be written in base64."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner_too, outer_too = self._inner_too.copy(), self._outer_too.copy()
        inner.update(message)
        inner_too.update(message)
        outer.update(inner.digest())
        outer_too.update(inner_too.digest())
        return b"".join((outer.digest(), b"\0", outer_too.digest(), b"\0"))
