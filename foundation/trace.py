"""W3C Trace Context (https://www.w3.org/TR/trace-context/): parse, continue, start. Values only; carries no personal data."""

import re

import msgspec

from foundation import drawn

HEADER = "traceparent"
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?\Z")


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


def continue_or_start(header: str | None) -> Trace:
    """A new span in the caller's trace, or a new trace where the header is absent or malformed (section 4.3)."""
    match = _TRACEPARENT.match(header) if header and len(header) <= 256 else None
    if match is None or match[1] == "ff" or match[2] == "0" * 32 or match[3] == "0" * 16:
        return start()
    if match[1] == "00" and len(header or "") != 55:
        return start()
    return Trace(trace_id=match[2], span_id=drawn.hex_digits(16), flags=match[4])
