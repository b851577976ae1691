"""One window of text, scanned: a gate says which patterns occur at all, confirming looks at those places alone, and what is encoded is decoded
and scanned again. Pure."""

import functools
from collections.abc import Iterator
from typing import Any

import msgspec
import re2

from cells.egress.scanner import identifiers, numbers, phones, texts, unescaping, unpacking
from cells.egress.scanner.findings import Confirm, Finding, Hit, Kind
from cells.egress.scanner.layers import Layer

DEPTH_MAX = 4
"""Encodings within each other that are undone; what is encoded once more counts as found."""
DECODED_BYTES_MAX = 1 << 20
"""What is decoded of one window, all depths together; beyond it the rest counts as found."""
GATE_MEMORY_BYTES = 128 << 20

DETECTORS: tuple[tuple[str, Confirm], ...] = (
    (texts.EMAIL, texts.emails),
    (texts.JWT, texts.jwts),
    (texts.API_KEY, texts.keys),
    (texts.PRIVATE_KEY, texts.private_keys),
    (texts.URL_CREDENTIALS, texts.url_credentials),
    (texts.BIRTH_DATE, texts.birth_dates),
    (numbers.CARD_PLAIN, numbers.cards),
    (numbers.CARD_GROUPED, numbers.cards),
    (numbers.CARD_ANNOUNCED, numbers.announced_cards),
    (numbers.IBAN, numbers.ibans),
    (numbers.IPV4, numbers.ipv4),
    (numbers.IPV6, numbers.ipv6),
    (numbers.MAC, numbers.macs),
    (numbers.COORDINATES, numbers.coordinates),
    (phones.INTERNATIONAL, phones.international),
    (phones.GROUPED, phones.grouped),
    (phones.ANNOUNCED, phones.announced),
    (identifiers.PATTERN, identifiers.written),
    (identifiers.ANNOUNCED, identifiers.announced),
)


class Gate(msgspec.Struct, frozen=True):
    """The set answers in one pass which patterns occur in a text; it knows no positions."""

    occurring: Any
    finders: tuple[Any, ...]
    escape: int
    base64: int
    hex: int


@functools.cache
def gate() -> Gate:
    """Compiled once in a process, when first something is scanned."""
    options = re2.Options()
    options.max_mem = GATE_MEMORY_BYTES
    occurring = re2.Set.SearchSet(options)
    for pattern, _ in DETECTORS:
        occurring.Add(pattern)
    decoded = [occurring.Add(form) for form in (unescaping.trigger(), unpacking.BASE64, unpacking.HEX)]
    occurring.Compile()
    return Gate(occurring, tuple(re2.compile(pattern) for pattern, _ in DETECTORS), *decoded)


def scan_window(data: bytes) -> Iterator[Finding]:
    """Everything found in a text and in what is encoded in it, unsorted; several findings may speak of one place."""
    layer: Layer | None = None
    seen: set[bytes] = set()
    decoded = 0
    for depth in range(DEPTH_MAX + 1):
        occurring = gate().occurring.Match(data) or []
        for hit in _hits(data, occurring):
            yield _finding(hit, layer)
        below = Layer(layer)
        for start, end in _decode(data, occurring, below, seen):
            yield _finding((Kind.OPAQUE, start, end, "gzip"), layer)
        if not below.size:
            return
        decoded += below.size
        if depth == DEPTH_MAX or decoded > DECODED_BYTES_MAX:
            cap = "depth" if depth == DEPTH_MAX else "decoded"
            yield _finding((Kind.OPAQUE, 0, below.size, cap), below)
            return
        layer, data = below, below.text()


def _hits(data: bytes, occurring: list[int]) -> Iterator[Hit]:
    finders = gate().finders
    for at in occurring:
        if at < len(finders):
            confirm = DETECTORS[at][1]
            for found in finders[at].finditer(data):
                yield from confirm(data, found.start(), found.end())


def _decode(data: bytes, occurring: list[int], layer: Layer, seen: set[bytes]) -> Iterator[tuple[int, int]]:
    """Fills the layer; gives spans of what a cap kept shut."""
    known = gate()
    if known.escape in occurring:
        unescaping.unescape(data, layer)
    if known.base64 in occurring:
        unpacking.base64_tokens(data, layer, seen)
    if known.hex in occurring:
        unpacking.hex_tokens(data, layer, seen)
    yield from unpacking.gzip_members(data, layer)


def _finding(hit: Hit, layer: Layer | None) -> Finding:
    kind, start, end, scheme = hit
    if layer is None:
        return Finding(start, end, kind, (), scheme)
    start, end, path = layer.original(start, end)
    return Finding(start, end, kind, path, scheme)
