"""W3C Trace Context (https://www.w3.org/TR/trace-context/): parse, continue, start. Values only; carries no personal data."""

import binascii
import re
import struct

import msgspec

from foundation import drawn

HEADER = "traceparent"
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?\Z")
_BYTES = 24
"""Of a trace's and a span's id."""


class Trace(msgspec.Struct, frozen=True, gc=False):
    """One hop: 32 hex digits of trace id, 16 of span id, 2 of flags."""

    trace_id: str
    span_id: str
    flags: str = "00"

    def header(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def start() -> Trace:
    digits = drawn.hex_digits(48)
    return Trace(digits[:32], digits[32:])


def _headers(raw: bytes) -> tuple[bytes, ...]:
    """Of new traces."""
    count = len(raw) // _BYTES
    written = b"00-%b-%b-00" * count % struct.unpack("32s16s" * count, binascii.hexlify(raw))
    return struct.unpack("55s" * count, written)


new_header = drawn.Names(_headers).take
"""The header of a new trace, as `start().header()`."""


def as_written(header: bytes) -> Trace:
    """What a header says that was written here."""
    text = header.decode("ascii")
    return Trace(text[3:35], text[36:52], text[53:])


def continue_or_start(header: str | None) -> Trace:
    """A new span in the caller's trace, or a new trace where the header is absent or malformed (section 4.3)."""
    match = _TRACEPARENT.match(header) if header and len(header) <= 256 else None
    if match is None or match[1] == "ff" or match[2] == "0" * 32 or match[3] == "0" * 16:
        return start()
    if match[1] == "00" and len(header or "") != 55:
        return start()
    return Trace(trace_id=match[2], span_id=drawn.hex_digits(16), flags=match[4])
