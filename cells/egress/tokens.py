"""Tokens: 32 hex digits that stand for a value under a key, and say nothing of it without: HMAC-SHA-256 (RFC 2104), cut to 128 bits. Pure.

Texts and numbers are kept apart. The keyed state is made once and copied; `hmac.digest` takes thrice the time.
"""

import collections
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

TOKEN_CHARS = 32
DIGEST_BYTES, TOKEN_BYTES = 32, 16
_AT_ONCE = 64
"""States that are copied before the first of them is used: a step over many takes less time than all steps over one, until they are too
many for the nearest memory."""
Digests: TypeAlias = Callable[[Sequence[bytes]], list[bytes]]
"""Of texts in UTF-8 the whole HMACs, DIGEST_BYTES each; the first TOKEN_BYTES of one in hex are the token."""


def _keyed(key: bytes, what: bytes) -> HMAC:
    made = HMAC(key, hashes.SHA256())
    made.update(what)
    return made


def digests(key: bytes) -> Digests:
    of_text = _keyed(key, b"t")

    def treat(values: Sequence[bytes]) -> list[bytes]:
        found: list[bytes] = []
        for start in range(0, len(values), _AT_ONCE):
            held = values[start : start + _AT_ONCE]
            begun = list(map(HMAC.copy, itertools.repeat(of_text, len(held))))
            collections.deque(map(HMAC.update, begun, held), maxlen=0)
            found.extend(map(HMAC.finalize, begun))
        return found

    return treat


def tokens(key: bytes) -> Callable[[Iterable[str]], list[str]]:
    """Of texts."""
    whole = digests(key)
    return lambda values: [one[:TOKEN_BYTES].hex() for one in whole(list(map(str.encode, values)))]


def token(key: bytes) -> Callable[[Any], str]:
    """Of a text or a whole number."""
    of_text, of_number = _keyed(key, b"t"), _keyed(key, b"i")

    def treat(value: Any) -> str:
        text = type(value) is str
        begun = (of_text if text else of_number).copy()
        begun.update(value.encode() if text else b"%d" % value)
        return begun.finalize()[:TOKEN_BYTES].hex()

    return treat
