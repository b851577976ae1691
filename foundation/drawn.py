"""Random bytes for names (of traces, spans, decisions): the kernel's, drawn many at a time, since a system call costs more than a name.

Not for keys and tokens: those are `secrets`' own, which keeps nothing ahead.
"""

import binascii
import os
from collections.abc import Callable, Sequence
from typing import Final

AHEAD_BYTES: Final = 3072
"""A multiple of 3, so that each base64 digit has all its bits, and of 24: of so many bytes a name of `Names` is made at most, and none may
be left over."""


class Drawn:
    """What is drawn is written out ahead, too, and given out once. A child of `fork` draws anew, so that no two processes give out the
    same."""

    __slots__ = ("_ahead", "_at", "_written")

    def __init__(self, written: Callable[[bytes], str]) -> None:
        """`written`: how bytes are written; of each character nothing but its own bytes is known from the others."""
        self._written = written
        self.clear()
        os.register_at_fork(after_in_child=self.clear)

    def clear(self) -> None:
        self._ahead = ""
        self._at = 0

    def take(self, size: int) -> str:
        """`size` characters, at most AHEAD_BYTES."""
        at = self._at
        self._at = end = at + size
        if end > len(self._ahead):
            self._ahead = self._written(os.urandom(AHEAD_BYTES))
            at, self._at = 0, size
        return self._ahead[at : at + size]


class Names:
    """The same of whole names, taken one by one."""

    __slots__ = ("_ahead", "_written")

    def __init__(self, written: Callable[[bytes], Sequence[bytes]]) -> None:
        """`written`: what names bytes make, each of its own."""
        self._written = written
        self._ahead: list[bytes] = []
        os.register_at_fork(after_in_child=self._ahead.clear)

    def take(self) -> bytes:
        ahead = self._ahead
        if not ahead:
            written = self._written
            ahead.extend(written(os.urandom(AHEAD_BYTES)))
        return ahead.pop()


def url_safe(raw: bytes) -> bytes:
    """Base64url without padding (RFC 4648 section 5)."""
    return binascii.b2a_base64(raw, newline=False).translate(URL_SAFE, b"=")


URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
hex_digits = Drawn(bytes.hex).take
"""Of 4 random bits each."""
base64_digits = Drawn(lambda raw: url_safe(raw).decode("ascii")).take
"""Of 6 random bits each."""
