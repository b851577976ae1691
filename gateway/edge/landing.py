"""A whole answer that came in one piece, as its client gets it. Pure.

Services say the same above most answers. What a strict reading made of a head is kept by its bytes, but for the length of the body and the
date, and given again; kept is only what says nothing of anybody (`_KEPT`), and for `KEPT_S` at most.
"""

import re
from typing import Final

from foundation.wire.answer import BODILESS, status_line
from foundation.wire.head import FIELDS_MAX, Malformed, StatusHead, status_head
from foundation.wire.responses import LENGTH_DIGITS_MAX, framing_of
from gateway.edge.answers import refusal_of
from gateway.edge.headers import read_response

HEADS_MAX = 1_024
HEAD_BYTES_MAX: Final = 4_096
LENGTHS_MAX = 4_096
LONG_BYTES_MIN: Final = 64 * 1024
"""Of what came in one piece: its body is not copied before it is known to be whole."""
KEPT_S = 300.0
_DATE: Final = re.compile(rb"[\x20-\x7e]*+")
_KEPT: Final = frozenset(
    {b"accept-ranges", b"access-control-allow-credentials", b"access-control-allow-headers", b"access-control-allow-methods",
     b"access-control-allow-origin", b"access-control-expose-headers", b"access-control-max-age", b"allow", b"cache-control",
     b"connection", b"content-encoding", b"content-language", b"content-length", b"content-profile", b"content-range",
     b"content-security-policy", b"content-type", b"cross-origin-opener-policy", b"cross-origin-resource-policy", b"date",
     b"expires", b"keep-alive", b"permissions-policy", b"pragma", b"preference-applied", b"range-unit", b"referrer-policy",
     b"retry-after", b"server", b"strict-transport-security", b"vary", b"x-content-type-options", b"x-frame-options",
     b"x-powered-by"}
)  # fmt: skip


class Shown:
    """What clients get of a head: its first line, what stands before the length, the name of that included, and what stands behind it, from
    the end of its line on."""

    __slots__ = ("before", "behind", "line")

    def __init__(self, line: bytes, before: bytes, behind: bytes) -> None:
        self.line = line
        self.before = before
        self.behind = behind


class Landing:
    """What is known of answers' heads by their bytes. One per gateway; times are seconds on one clock."""

    def __init__(self) -> None:
        self._known: dict[bytes, Shown] = {}
        self._lengths: dict[bytes, int] = {}  # as they are sent
        self._until_s = 0.0
        self._date = b""

    def __len__(self) -> int:
        return len(self._known)

    def forget(self) -> None:
        """All of it."""
        self._known.clear()
        self._lengths.clear()
        self._date = b""

    def answer(self, data: bytes, told: bytes, dated: bytes, *, keep: bool, now_s: float) -> bytes | None:
        """The client's answer, if `data` is one that is whole, as long as it says, to be passed on as it is, and not the last of its
        connection; else None: then it is to be read as any other. `told` and `dated`: lines to add. Not for answers to HEAD."""
        long = len(data) >= LONG_BYTES_MIN
        head, ended, body = (data[: HEAD_BYTES_MAX + 4] if long else data).partition(b"\r\n\r\n")
        if not ended or len(head) > HEAD_BYTES_MAX:
            return None
        before, named, rest = head.partition(b"\r\ncontent-length: ")
        if not named:
            before, named, rest = head.partition(b"\r\nContent-Length: ")
        length, over, behind = rest.partition(b"\r")
        stated = self._lengths.get(length)
        if stated is None:
            stated = self._length(length)
        if stated != (len(data) - len(head) - 4 if long else len(body)):
            return None
        if over and behind[:1] != b"\n":
            return None
        if now_s > self._until_s:
            self._known.clear()
            self._until_s = now_s + KEPT_S
        key = b"".join((before, named, over, behind))
        shown = self._known.get(key) or self._on_a_date(head + ended, key)
        if shown is None:
            return None
        last = b"\r\n" if keep else b"connection: close\r\n\r\n"
        all_of_it = memoryview(data)[len(head) + 4 :] if long else body
        return b"".join((shown.line, dated, shown.before, length, shown.behind, told, last, all_of_it))

    def _length(self, sent: bytes) -> int:
        """-1 for what is no length."""
        if not sent.isdigit() or len(sent) > LENGTH_DIGITS_MAX:
            return -1
        if len(self._lengths) >= LENGTHS_MAX:
            self._lengths.clear()
        length = self._lengths[sent] = int(sent)
        return length

    def _on_a_date(self, whole: bytes, key: bytes) -> Shown | None:
        """What is shown of a head whose line of a date, if there is one, is of no account."""
        before, named, rest = key.partition(b"\r\ndate: ")
        if not named:
            before, named, rest = key.partition(b"\r\nDate: ")
        if not named:
            return self._read(whole, key)
        date, over, behind = rest.partition(b"\r")
        if date != self._date and _DATE.fullmatch(date) is None:
            return None
        self._date = date
        key = b"%b%b%b" % (before, over, behind)
        return self._known.get(key) or self._read(whole, key)

    def _read(self, whole: bytes, key: bytes) -> Shown | None:
        head = status_head(whole)
        if isinstance(head, Malformed):
            return None
        shown = shown_of(head)
        if shown is not None and len(head.fields) < FIELDS_MAX and all(name in _KEPT for name, _ in head.fields):
            if len(self._known) >= HEADS_MAX:
                self._known.clear()
            self._known[key] = shown
        return shown


def shown_of(head: StatusHead) -> Shown | None:
    """None for what is more than a body of a stated length to be passed on, on a connection that may carry another."""
    framing = framing_of(head.fields, head.minor)
    if isinstance(framing, Malformed) or head.status < 200 or head.status in BODILESS or refusal_of(head) is not None:
        return None
    length, _, keep = framing
    if length is None or not keep:
        return None
    fields = read_response(head.fields, status=head.status, head_only=False)
    at = [name for name, _ in fields].index(b"content-length")
    lines = [b"%b: %b\r\n" % field for field in fields]
    before, behind = b"".join(lines[:at]), b"".join(lines[at + 1 :])
    return Shown(status_line(head.status), before + b"content-length: ", b"\r\n" + behind)
