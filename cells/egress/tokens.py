"""Tokens: 32 hex digits that stand for a value under a key, and say nothing of it without: HMAC-SHA-256 (RFC 2104), cut to 128 bits. Pure.

Texts and numbers are kept apart. The keyed state is made once and copied; `hmac.digest` takes thrice the time.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

TOKEN_CHARS = 32
DIGEST_BYTES, TOKEN_BYTES = 32, 16
Digests: TypeAlias = Callable[[Iterable[bytes]], list[bytes]]
"""Of texts in UTF-8 the whole HMACs, DIGEST_BYTES each; the first TOKEN_BYTES of one in hex are the token."""


def digests(key: bytes, what: bytes = b"t") -> Digests:
    keyed = HMAC(key, hashes.SHA256())
    keyed.update(what)
    begin = keyed.copy

    def treat(values: Iterable[bytes]) -> list[bytes]:
        found = []
        for value in values:
            begun = begin()
            begun.update(value)
            found.append(begun.finalize())
        return found

    return treat


def token(key: bytes) -> Callable[[Any], str]:
    """Of a text or a whole number."""
    of_text, of_number = digests(key), digests(key, b"i")

    def treat(value: Any) -> str:
        found = of_text((value.encode(),)) if type(value) is str else of_number((b"%d" % value,))
        return found[0][:TOKEN_BYTES].hex()

    return treat


def tokens(key: bytes) -> Callable[[Iterable[str]], list[str]]:
    """Of texts."""
    of_texts = digests(key)
    return lambda values: [one[:TOKEN_BYTES].hex() for one in of_texts(map(str.encode, values))]
