"""One window of text, scanned: gates say which patterns occur at all, confirming looks at those places alone, and what is encoded is
decoded and scanned again. Pure."""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
import re2

from cells.egress.scanner import identifiers, numbers, phones, texts, unescaping, unpacking
from cells.egress.scanner.findings import Confirm, Finding, Hit, Kind
from cells.egress.scanner.layers import Layer

DEPTH_MAX = 4
"""Encodings within each other that are undone; what is encoded once more counts as found."""
DECODED_BYTES_MAX = 2 << 20
"""What is decoded of one window, all depths together; beyond it the rest counts as found."""
GATE_MEMORY_BYTES = 64 << 20
SLICE_BYTES = 8 << 10
REACH_BYTES = 512
"""What a slice sees of the next: no value needs more to be recognised; its end may lie beyond."""


class Detector(msgspec.Struct, frozen=True):
    """A pattern and what confirms its matches. `opens` is what the gate looks for, where that is less than the pattern."""

    pattern: str
    confirm: Confirm
    opens: str = ""


ADDRESSES: tuple[tuple[Detector, re.Pattern[bytes]], ...] = (
    (Detector(texts.EMAIL, texts.emails), texts.EMAIL_SIGN),
    (Detector(texts.URL_CREDENTIALS, texts.url_credentials), texts.URL_CREDENTIALS_SIGN),
)
"""What has an at sign, and what stands there then at least: to search for that takes less than a pass of a set."""
AT_BYTES_MIN = 32
"""To so many bytes one at sign: where there are more, addresses are searched for at once."""
GATES: tuple[tuple[Detector, ...], ...] = (
    (
        Detector(texts.JWT, texts.jwts, texts.JWT_BEGIN),
        Detector(texts.API_KEY, texts.keys, texts.API_KEY_BEGIN),
        Detector(texts.PRIVATE_KEY, texts.private_keys, texts.PRIVATE_KEY_BEGIN),
        Detector(phones.ANNOUNCED, phones.announced, phones.WORDS),
        Detector(numbers.CARD_ANNOUNCED, numbers.announced_cards, numbers.CARD_WORDS),
        Detector(identifiers.ANNOUNCED, identifiers.announced, identifiers.WORDS),
        Detector(texts.BIRTH_DATE, texts.birth_dates, texts.BIRTH_WORDS),
    ),
    (
        Detector(numbers.CARD_PLAIN, numbers.cards),
        Detector(numbers.CARD_GROUPED, numbers.cards),
        Detector(numbers.IPV4, numbers.ipv4),
        Detector(phones.INTERNATIONAL, phones.international),
        Detector(phones.GROUPED, phones.grouped),
        Detector(numbers.COORDINATES, numbers.coordinates),
    ),
    (
        Detector(identifiers.PATTERN, identifiers.written),
        Detector(numbers.IPV6, numbers.ipv6),
        Detector(numbers.MAC, numbers.macs),
        Detector(numbers.IBAN, numbers.ibans),
    ),
)
"""Patterns that one set answers for together. One set of all knows so many states that it never stops building new ones."""

_UNPACKED = ((unpacking.BASE64, unpacking.base64_tokens), (unpacking.HEX, unpacking.hex_tokens))


class Gate(msgspec.Struct, frozen=True):
    """Tells in one pass which of its patterns may occur in a text; it knows no positions."""

    occurring: Callable[[bytes], Sequence[int] | None]
    finders: tuple[tuple[Any, Confirm], ...]


def _set(patterns: Iterable[str]) -> Any:
    options = re2.Options()
    options.max_mem = GATE_MEMORY_BYTES
    made = re2.Set.SearchSet(options)
    for pattern in patterns:
        made.Add(pattern)
    made.Compile()
    return made


@functools.cache
def gates() -> tuple[Gate, ...]:
    """Compiled once in a process, when first something is scanned."""
    addresses = Gate(_addressed, _finders(one for one, _ in ADDRESSES))
    return addresses, *(Gate(_set(one.opens or one.pattern for one in group).Match, _finders(group)) for group in GATES)


def _finders(group: Iterable[Detector]) -> tuple[tuple[Any, Confirm], ...]:
    return tuple((re2.compile(one.pattern), one.confirm) for one in group)


def _addressed(raw: bytes) -> Sequence[int]:
    count = raw.count(b"@")
    if count * AT_BYTES_MIN > len(raw):
        return range(len(ADDRESSES))
    return [at for at, (_, sign) in enumerate(ADDRESSES) if sign.search(raw)] if count else ()


@functools.cache
def _packed() -> Any:
    """The gate of encoded tokens."""
    return _set(form for form, _ in _UNPACKED)


def scan_window(data: bytes) -> Iterator[Finding]:
    """Everything found in a text and in what is encoded in it, unsorted; several findings may speak of one place."""
    layer: Layer | None = None
    seen: unpacking.Seen = set()
    decoded = 0
    for depth in range(DEPTH_MAX + 1):
        for hit in _hits(data):
            yield _finding(hit, layer)
        below = Layer(layer)
        for start, end in _decode(data, below, seen):
            yield _finding((Kind.OPAQUE, start, end, "gzip"), layer)
        if not below.size:
            return
        decoded += below.size
        if depth == DEPTH_MAX or decoded > DECODED_BYTES_MAX:
            cap = "depth" if depth == DEPTH_MAX else "decoded"
            yield _finding((Kind.OPAQUE, 0, below.size, cap), below)
            return
        layer, data = below, below.text()


def _hits(data: bytes) -> Iterator[Hit]:
    """Gates look at slices, so that a pattern which occurs now and then is searched for there alone."""
    for gate in gates():
        ends = [0] * len(gate.finders)
        for low in range(0, len(data), SLICE_BYTES):
            high = low + SLICE_BYTES
            for at in gate.occurring(data[low : high + REACH_BYTES]) or ():
                finder, confirm = gate.finders[at]
                for start, end in _found(finder, data, max(low, ends[at]), high):
                    ends[at] = end
                    yield from confirm(data, start, end)


def _found(finder: Any, data: bytes, low: int, high: int) -> Iterator[tuple[int, int]]:
    """What begins from `low` to before `high`, to its own end."""
    edge = high + REACH_BYTES
    for found in finder.finditer(data, low, edge):
        start, end = found.span()
        if start >= high:
            return
        if end >= edge:
            end = finder.match(data, start).end()
        yield start, end


def _decode(data: bytes, layer: Layer, seen: unpacking.Seen) -> Iterator[tuple[int, int]]:
    """Fills the layer; gives spans of what a cap kept shut."""
    unescaping.unescape(data, layer)
    ends = [0] * len(_UNPACKED)
    for low in range(0, len(data), SLICE_BYTES):
        high = low + SLICE_BYTES
        for at in _packed().Match(data[low : high + REACH_BYTES]) or ():
            ends[at] = _UNPACKED[at][1](data, max(low, ends[at]), high, layer, seen)
    yield from unpacking.gzip_members(data, layer)


def _finding(hit: Hit, layer: Layer | None) -> Finding:
    kind, start, end, scheme = hit
    if layer is None:
        return Finding(start, end, kind, (), scheme)
    start, end, path = layer.original(start, end)
    return Finding(start, end, kind, path, scheme)
