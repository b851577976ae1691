"""One window of text, scanned: gates say which patterns occur at all, confirming looks at those places alone, and what is encoded is
decoded and scanned again. Pure."""

import codecs
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import msgspec

from cells.egress.scanner import identifiers, numbers, phones, texts, unescaping, unpacking
from cells.egress.scanner.announcing import announced
from cells.egress.scanner.context import IDENTIFIER_BEFORE_DIGIT
from cells.egress.scanner.findings import Confirm, Finding, Hit, Kind
from cells.egress.scanner.layers import Layer
from cells.egress.scanner.patterns import Pattern, of_bytes, options, search_set

DEPTH_MAX = 4
"""Encodings within each other that are undone; what is encoded once more counts as found."""
DECODED_BYTES_MAX = 2 << 20
"""What is decoded of one window, all depths together; beyond it the rest counts as found."""
GATE_MEMORY_BYTES = 64 << 20
STRETCH_BYTES = 1 << 10
"""Of a line that goes on so long after a sign what is looked at together."""
NEAR_BYTES, WIDE_BYTES_MAX = 256, 8 << 10
"""A sign so near behind the stretch before it makes its own twice as wide: to ask of each line by itself takes longer where each has
one."""
REACH_BYTES = 512
"""What is seen beyond a stretch: hardly a value needs more to be recognised; its end may lie beyond."""
FAR_BYTES = 8 << 10
"""The same of a value that has a part of any length before what it is recognised by."""
_RUN = re.compile(rb"[0-9a-z_\-]{%d}" % REACH_BYTES)
"""A part of a path that may go on for so long before an IPv4 address: what stands before it says whether it is one."""


class Detector(msgspec.Struct, frozen=True):
    """A pattern and what confirms its matches. `opens`: how each match begins, where a gate looks for less than that. `reach`: what is seen
    of it beyond a stretch, in bytes."""

    pattern: str
    confirm: Confirm
    opens: str = ""
    reach: int = REACH_BYTES


ADDRESSES: tuple[tuple[Detector, bytes], ...] = (
    (Detector(texts.EMAIL, texts.emails, reach=FAR_BYTES), texts.EMAIL_SIGN),
    (Detector(texts.URL_CREDENTIALS, texts.url_credentials, reach=FAR_BYTES), texts.URL_CREDENTIALS_SIGN),
)
"""What has an at sign, and what stands there then at least, in bytes: what does not begin like that is passed over without a look."""
UNSPOKEN: tuple[Detector, ...] = (
    Detector(texts.JWT, texts.jwts, texts.JWT_BEGIN, FAR_BYTES),
    Detector(texts.API_KEY, texts.keys, texts.API_KEY_BEGIN),
    Detector(texts.PRIVATE_KEY, texts.private_keys, texts.PRIVATE_KEY_BEGIN),
    Detector(identifiers.ANNOUNCED, identifiers.announced, identifiers.WORDS),
)
"""What begins with letters that say so; of these nothing is remembered: keys have their value in them, and what an identifier's number
goes over may have further words in it."""
ANNOUNCED: tuple[Detector, ...] = (
    *UNSPOKEN,
    Detector(phones.ANNOUNCED, phones.announced, phones.WORDS),
    Detector(numbers.CARD_ANNOUNCED, numbers.announced_cards, numbers.CARD_WORDS),
    Detector(texts.BIRTH_DATE, texts.birth_dates, texts.BIRTH_WORDS),
)
"""These and words before numbers."""
NUMBERS: tuple[Detector, ...] = (
    Detector(numbers.CARD_PLAIN, numbers.cards),
    Detector(numbers.CARD_GROUPED, numbers.cards, numbers.CARD_GROUPED_BEGIN),
    Detector(numbers.IPV4, numbers.ipv4),
    Detector(phones.INTERNATIONAL, phones.international, phones.INTERNATIONAL_BEGIN),
    Detector(phones.GROUPED, phones.grouped),
    Detector(numbers.COORDINATES, numbers.coordinates, numbers.COORDINATES_BEGIN),
    Detector(identifiers.PATTERN, identifiers.written, identifiers.PATTERN_BEGIN),
    Detector(numbers.IPV6, numbers.ipv6, numbers.IPV6_BEGIN),
    Detector(numbers.MAC, numbers.macs, numbers.MAC_BEGIN),
    Detector(numbers.IBAN, numbers.ibans, numbers.IBAN_BEGIN),
)
"""What stands without a word. These and those together in one expression know so many states that it never stops building new ones."""


Sign: TypeAlias = Callable[[bytes, int], tuple[int, int] | None]


class Gate(msgspec.Struct, frozen=True):
    """`sign`: from an offset on, where the next stretch begins in which one of its patterns may begin, and what says so stands or, where it
    may be long, ends; None where there is no more. `occurring` tells in one pass which of them may occur in a stretch; it knows no
    positions."""

    sign: Sign
    occurring: Callable[[bytes], Sequence[int] | None]
    group: tuple[Detector, ...]


@functools.cache
def gates() -> tuple[Gate, ...]:
    """Compiled once in a process, when first something is scanned."""
    return (
        *(Gate(_in_line(sign), lambda _: (0,), (one,)) for one, sign in ADDRESSES),
        Gate(announced(_any_of(ANNOUNCED), _WORDS, _others()), _occurring(ANNOUNCED), ANNOUNCED),
        Gate(_begun(NUMBERS), _occurring(NUMBERS), NUMBERS),
    )


_WORDS = (phones.BESIDE, numbers.BESIDE, texts.BESIDE)
_finder = functools.cache(Pattern)
"""Compiled when its pattern may occur."""


def _occurring(group: Sequence[Detector]) -> Callable[[bytes], Sequence[int] | None]:
    made = functools.cache(lambda: search_set(_opens(group), GATE_MEMORY_BYTES).Match)

    def occurring(text: bytes) -> Sequence[int] | None:
        found: Sequence[int] | None = made()(text)
        return found

    return occurring


def _others() -> Pattern:
    """What keeps a text from being remembered."""
    return Pattern("|".join(f"(?:{form})" for form in (*_opens(UNSPOKEN), f"(?i:{IDENTIFIER_BEFORE_DIGIT})")))


def _opens(group: Iterable[Detector]) -> list[str]:
    return [one.opens or one.pattern for one in group]


def _any_of(group: Iterable[Detector]) -> Pattern:
    """One expression of all of them: it says where the first of them may begin, not which."""
    return Pattern("|".join(f"(?:{form})" for form in _opens(group)), options(GATE_MEMORY_BYTES))


def _begun(group: Iterable[Detector]) -> Sign:
    first = _any_of(group).first

    def sign(data: bytes, at: int) -> tuple[int, int] | None:
        start, end = first(data, at)
        return None if start < 0 else (start, end - 1)

    return sign


def _in_line(form: bytes) -> Sign:
    """What has such a sign within itself: it may begin where the sign's line does."""
    first = Pattern(form, of_bytes()).first

    def sign(data: bytes, at: int) -> tuple[int, int] | None:
        stands, _ = first(data, at)
        return None if stands < 0 else (max(at, data.rfind(b"\n", at, stands) + 1), stands)

    return sign


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


_SPACES = "domicile.spaces"


def _spaces(wrong: UnicodeError) -> tuple[str, int]:
    if not isinstance(wrong, UnicodeDecodeError):
        raise wrong
    return " " * (wrong.end - wrong.start), wrong.end


codecs.register_error(_SPACES, _spaces)


def in_utf8(data: bytes) -> bytes:
    """A space for each byte that is no UTF-8: patterns cannot speak of such a byte, so no edge of a value would be seen beside it.
    What confirms is given the bytes as they are."""
    if data.isascii():
        return data
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return str(data, "utf-8", _SPACES).encode()
    return data


def _hits(data: bytes) -> Iterator[Hit]:
    """Each gate leads from sign to sign; between them nothing of its begins. Patterns that may occur are searched for from there to the end
    of the line, of more and more lines where signs stand close together: none has a line's end in it, but for the one in front of it."""
    text = in_utf8(data)
    for gate in gates():
        ends = [0] * len(gate.group)
        at = wide = 0
        while (sign := gate.sign(text, at)) is not None:
            begin, stands = sign
            wide = min(max(2 * wide, NEAR_BYTES), WIDE_BYTES_MAX) if begin - at < NEAR_BYTES else 0
            high = stands + wide + STRETCH_BYTES
            line = text.find(b"\n", stands + wide + 1, high)
            at, edge = (
                (line, line + 1) if line >= 0 else (high, high + (FAR_BYTES if _RUN.match(text, high) else REACH_BYTES))
            )
            for which in gate.occurring(text[max(0, begin - 1) : edge]) or ():
                detector = gate.group[which]
                far = edge if line >= 0 else max(edge, at + detector.reach)
                for start, end in _found(_finder(detector.pattern), text, max(begin, ends[which]), at, far):
                    ends[which] = end
                    yield from detector.confirm(data, start, end)


def _found(finder: Pattern, data: bytes, low: int, high: int, edge: int) -> Iterator[tuple[int, int]]:
    """What begins from `low` to before `high`, to its own end."""
    for start, stop in finder.all(data, low, edge):
        if start >= high:
            return
        end = finder.end_at(data, start) if stop >= edge else stop
        yield start, end


def _decode(data: bytes, layer: Layer, seen: unpacking.Seen) -> Iterator[tuple[int, int]]:
    """Fills the layer; gives spans of what a cap kept shut."""
    unescaping.unescape(data, layer)
    unpacking.tokens(data, layer, seen)
    yield from unpacking.gzip_members(data, layer)


def _finding(hit: Hit, layer: Layer | None) -> Finding:
    kind, start, end, scheme = hit
    if layer is None:
        return Finding(start, end, kind, (), scheme)
    start, end, path = layer.original(start, end)
    return Finding(start, end, kind, path, scheme)
