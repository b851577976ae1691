"""HMAC-SHA-256 (RFC 2104) under keys that are used often: their two blocks are hashed once, and the states that they leave are kept
(section 4)."""

import hashlib

_BLOCK_BYTES = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


class Mac:
    """One key."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        short = hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key
        block = short.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER))
        self._outer = hashlib.sha256(block.translate(_OUTER))

    def digest(self, message: bytes) -> bytes:
        """What `hmac.digest(key, message, "sha256")` gives."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()

    def both(self, other: "Mac", message: bytes) -> bytes:
        """Its digest and that of another key, each with a zero byte behind it: for where each message is signed under two."""
        inner, outer = self._inner.copy(), self._outer.copy()
        others_inner, others_outer = other._inner.copy(), other._outer.copy()
        inner.update(message)
        others_inner.update(message)
        outer.update(inner.digest())
        others_outer.update(others_inner.digest())
        return b"".join((outer.digest(), b"\0", others_outer.digest(), b"\0"))
