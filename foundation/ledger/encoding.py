"""Base64 (RFC 4648 section 4) of which each value has one spelling: what is read must be what would be written. Pure."""

import base64
import binascii


def text_of(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def bytes_of(text: str) -> bytes:
    """Raises ValueError."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError("no base64") from exc
    if text_of(raw) != text:
        raise ValueError("base64 with bits that say nothing")
    return raw


def number_of(text: str) -> int:
    """A decimal without leading zeros, below 2^63. Raises ValueError."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or (text[0] == "0" and text != "0"):
        raise ValueError("no decimal number without leading zeros")
    number = int(text)
    if number >= 1 << 63:
        raise ValueError("the number is too large")
    return number
