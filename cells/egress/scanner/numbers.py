"""Payment cards, IBANs, network addresses and coordinates: patterns, and what confirms them. Pure."""

import functools
import ipaddress
import re
from collections.abc import Iterator

from cells.egress.scanner.context import CARD, Words
from cells.egress.scanner.findings import Hit, Kind
from cells.egress.scanner.libraries import library
from cells.egress.scanner.shapes import EDGE, bare, compact, first_digit, in_longer_token

_ISSUERS = (
    ("visa", re.compile(r"4")),
    ("mastercard", re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720")),
    ("amex", re.compile(r"3[47]")),
    ("diners", re.compile(r"30[0-5]|309|36|38|39")),
    ("jcb", re.compile(r"35(?:2[89]|[3-8])")),
    ("discover", re.compile(r"6011|64[4-9]|65")),
    ("unionpay", re.compile(r"62|81")),
    ("mir", re.compile(r"220[0-4]")),
    ("rupay", re.compile(r"508|60|82")),
    ("troy", re.compile(r"9792")),
    ("maestro", re.compile(r"50|5[6-8]|6")),
)
PREFIX_DIGITS = 4
"""No issuer's prefix is longer."""
REMEMBERED = 4096
"""Beginnings of which it is remembered whose cards they are, and shapes of accounts."""
_LENGTHS = {"visa": (13, 16, 19), "amex": (15,), "diners": (14, 15, 16, 17, 18, 19), "maestro": tuple(range(12, 20))}
_OTHER_LENGTHS = (16, 17, 18, 19)

CARD_PLAIN = rf"{EDGE}(?:3[0-9]{{13,14}}|[2-689][0-9]{{15}})(?:\b|_)"
"""What stands without a word beside it: 14 and 15 digits of Diners and Amex, and 16. Of other lengths a number needs its word or its
groups: decimal trace ids have 17 to 19 digits, too, and one in ten passes Luhn."""
_S = r"[ .\-]"
CARD_GROUPED = (
    rf"{EDGE}(?:[2-689][0-9]{{3}}(?:{_S}[0-9]{{4}}){{3}}(?:{_S}[0-9]{{1,3}})?|3[0-9]{{3}}{_S}[0-9]{{6}}{_S}[0-9]{{4,5}}"
    rf"|[56][0-9]{{3}}{_S}[0-9]{{4}}{_S}[0-9]{{5}}|4[0-9]{{3}}(?:{_S}[0-9]{{3}}){{3}}|62[0-9]{{4}}{_S}[0-9]{{13}})(?:\b|_)"
)
CARD_GROUPED_BEGIN = (
    rf"{EDGE}(?:[2-689][0-9]{{3}}{_S}[0-9]{{4}}{_S}|3[0-9]{{3}}{_S}[0-9]{{6}}{_S}|4[0-9]{{3}}{_S}[0-9]{{3}}{_S}"
    rf"|62[0-9]{{4}}{_S}[0-9]{{13}})"
)
"""How each of them begins, and so for the others: the gate looks for that alone. What lies further on in a value would be states that it
need not know."""
BESIDE = Words(CARD, r"[0-9]{4}[ .\-]?[0-9]{4}[ .\-]?[0-9]{4}")
CARD_ANNOUNCED, CARD_WORDS = BESIDE.pattern, BESIDE.words
_CARD_DIGITS = re.compile(rb"(?:[0-9]{4}(?:[ .\-][0-9]{4}){2,3}(?:[ .\-][0-9]{1,4})?|[0-9]{12,19})(?![0-9])")


_DOUBLED = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_ZERO = ord("0")


def _luhn(digits: bytes) -> bool:
    """Every second digit from the last but one doubled, its own digits added."""
    plain, doubled = digits[-1::-2], digits[-2::-2].translate(_DOUBLED)
    return (sum(plain) - _ZERO * len(plain) + sum(doubled)) % 10 == 0


_TAIL = re.compile(rb"[ .\-][0-9]{1,3}\Z")
_FRACTION = re.compile(rb"\.[0-9]")


def issuer(digits: str) -> str | None:
    """Who issues cards of this beginning and length; None for nobody, or where Luhn's digit is wrong."""
    name = _issued(digits[:PREFIX_DIGITS], len(digits))
    return name if name is not None and _luhn(digits.encode()) and len(set(digits)) > 1 else None


@functools.lru_cache(REMEMBERED)
def _issued(beginning: str, count: int) -> str | None:
    for name, prefix in _ISSUERS:
        if prefix.match(beginning) and count in _LENGTHS.get(name, _OTHER_LENGTHS):
            return name
    return None


def cards(data: bytes, start: int, end: int) -> Iterator[Hit]:
    """All of it, or all but a last group of one to three digits, which may be another number."""
    start, end = first_digit(data, start, end), bare(data, start, end)[1]
    tail = _TAIL.search(data, start, end)
    for stop in (end, *(() if tail is None else (tail.start(),))):
        name = issuer(compact(data[start:stop]))
        if name is not None and _FRACTION.match(data, stop) is None:
            yield Kind.CARD, start, stop, name
            return


def announced_cards(data: bytes, start: int, end: int) -> Iterator[Hit]:
    near = BESIDE.near(data, start, end)
    found = None if near is None else _CARD_DIGITS.match(data, near[0])
    name = None if found is None else issuer(compact(found.group()))
    if found is not None and name is not None:
        yield Kind.CARD, found.start(), found.end(), name


IBAN_BEGIN = (
    r"(?i)(?:\b|_)(?:A[DELTZ]|B[AEGHIRY]|C[HRYZ]|D[EJKO]|E[EGS]|F[IKOR]|G[BEILRT]|H[NRU]|I[ELQRST]|JO|K[WZ]|L[BCITUVY]|M[CDEKNRTU]|N[IOL]|OM|P[KLST]"
    r"|QA|R[OSU]|S[ACDEIKMOTV]|T[LNR]|UA|V[AG]|XK|YE)[0-9]{2}(?:[ \-]?[A-Z0-9]{4}){2}"
)
IBAN = rf"{IBAN_BEGIN}(?:[ \-]?[A-Z0-9]{{4}}){{0,5}}(?:[ \-]?[A-Z0-9]{{1,4}})?\b"
_IBAN_CUT = re.compile(rb"[ \-]")
_ALNUM = re.compile(rb"[0-9A-Za-z]")


_VALUES = {sign: str(int(sign, 36)) for sign in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def _mod_97(number: str) -> bool:
    """ISO 7064 modulo 97-10, letters as 10 to 35: what most that only looks like one fails by."""
    return int("".join(map(_VALUES.__getitem__, number[4:] + number[:4]))) % 97 == 1


_STRUCTURES: dict[tuple[str, str], bool] = {}
_SHAPED = str.maketrans("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", "9" * 10 + "A" * 26)


def _structured(number: str) -> bool:
    """Whether its country has accounts of that shape. Of a number that modulo 97 bears out the library looks at nothing else, so it is
    asked once for each country and shape."""
    key = number[:2], number[4:].translate(_SHAPED)
    known = _STRUCTURES.get(key)
    if known is None:
        if len(_STRUCTURES) >= REMEMBERED:
            _STRUCTURES.clear()
        known = _STRUCTURES[key] = bool(library("stdnum.iban").is_valid(number, check_country=False))
    return known


def ibans(data: bytes, start: int, end: int) -> Iterator[Hit]:
    """The longest beginning that ends with a group and is one."""
    start, end = bare(data, start, end)
    raw = data[start:end]
    ends = [len(raw), *(found.start() for found in reversed(list(_IBAN_CUT.finditer(raw))))]
    for size in ends:
        if size < 15 or _ALNUM.match(data, start + size) is not None:
            continue
        number = compact(raw[:size])
        if _mod_97(number) and _structured(number):
            yield Kind.IBAN, start, start + size, number[:2]
            return


_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_FIRST = r"(?:22[0-3]|2[01][0-9]|1[3-9][0-9]|12[0-689]|1[01][0-9]|[1-9][0-9]?)"
"""Not 0, 127 or from 224: this host, loopback, multicast, reserved."""
_HOST_EDGE = r"(?:^|[^0-9A-Za-z./]|[A-Za-z]\.|(?:^|[^0-9A-Za-z])[0-9a-z_\-]*/)"
"""As `EDGE`; after a slash where what stands before that is a path or a host (`broker1/10.0.0.5`), not a product (`Chrome/120.0.0.0`)."""
IPV4 = rf"{_HOST_EDGE}{_FIRST}(?:\.{_OCTET}){{3}}\b"
IPV6 = (
    r"(?i)(?:\b(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}\b|\b(?:[0-9a-f]{1,4}:){2,6}(?::[0-9a-f]{1,4}){1,5}\b|\b[0-9a-f]{1,4}:(?::[0-9a-f]{1,4}){2,6}\b"
    r"|\b(?:2[0468a]|f[cde])[0-9a-f]{2}::[0-9a-f]{1,4}\b|\b[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){2,6}::|::[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){1,6}\b)"
)
MAC = r"(?i)(?:\b|_)(?:(?:[0-9a-f]{2}:){5}[0-9a-f]{2}|(?:[0-9a-f]{2}-){5}[0-9a-f]{2}|[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4})(?:\b|_)"
IPV6_BEGIN = (
    r"(?i)(?:\b(?:[0-9a-f]{1,4}:){2,3}:|\b(?:[0-9a-f]{1,4}:){4}|\b[0-9a-f]{1,4}::[0-9a-f]{1,4}:|\b(?:2[0468a]|f[cde])[0-9a-f]{2}::"
    r"|::[0-9a-f]{1,4}:[0-9a-f])"
)
MAC_BEGIN = r"(?i)(?:\b|_)(?:(?:[0-9a-f]{2}:){4}|(?:[0-9a-f]{2}-){3}|[0-9a-f]{4}\.[0-9a-f]{4}\.)"
_DOTTED = re.compile(rb"[0-9]+(?:\.[0-9]+){3}\Z")
_VERSIONED = re.compile(rb"(?i:version|release|build|revision)\W{0,3}\Z")
_TIED = re.compile(rb"[:.][0-9A-Fa-f]")


def ipv4(data: bytes, start: int, end: int) -> Iterator[Hit]:
    """Not a version (`v1.2.3.4`, `1.2.3.4-rc1`) and not a longer dotted number."""
    dotted = _DOTTED.search(data[start:end])
    start += 0 if dotted is None else dotted.start()
    versioned = _VERSIONED.search(data, max(0, start - 24), start) is not None
    after = data[end : end + 2]
    if not versioned and not (after[:1] in (b".", b"-", b"+") and after[1:].isalnum()):
        yield Kind.IP, start, end, "v4"


def ipv6(data: bytes, start: int, end: int) -> Iterator[Hit]:
    """The pattern wants three colons, or a beginning that is given out: `a::b` is also how languages name things. Not a part of a
    fingerprint."""
    word = data[start:end]
    tied = data[max(0, start - 1) : start] in (b":", b".") or _TIED.match(data, end) is not None
    if not tied and any(byte in b"0123456789" for byte in word) and _somebodys(word):
        yield Kind.IP, start, end, "v6"


def _somebodys(raw: bytes) -> bool:
    try:
        address = ipaddress.IPv6Address(raw.decode("ascii"))
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_multicast)


_PAIR_BEFORE = re.compile(rb"[0-9A-Fa-f]{2}([:.\-])\Z")
_PAIR_AFTER = re.compile(rb"([:.\-])[0-9A-Fa-f]{2}")


def macs(data: bytes, start: int, end: int) -> Iterator[Hit]:
    """Not a part of a longer row of pairs: a key's fingerprint."""
    start, end = bare(data, start, end)
    own = _PAIR_AFTER.search(data, start, end)
    ties = (_PAIR_BEFORE.search(data, max(0, start - 3), start), _PAIR_AFTER.match(data, end))
    longer = own is not None and any(tie is not None and tie.group(1) == own.group(1) for tie in ties)
    if not longer and compact(data[start:end]) not in ("0" * 12, "F" * 12):
        yield Kind.MAC, start, end, ""


_DEGREES = r"[0-9]{1,3}\.[0-9]{4,15}"
COORDINATES = (
    rf"(?:\b|[+\-]){_DEGREES}°?[ ]?[NSns]?[ ]?[,;/ ][ ]?[+\-]?{_DEGREES}(?:°?[ ]?[EWew]\b)?"
    r"|\b[0-9]{1,2}°[ ]?[0-9]{1,2}['\x{2032}\x{2019}][ ]?(?:[0-9]{1,2}(?:[.,][0-9]{1,6})?(?:[\"\x{2033}\x{201d}]|''))?[ ]?[NSns]\b"
    r"|(?i)(?:\b|_)lat(?:itude)?\\?[\"']?[ ]?[:=][ ]?\\?[\"']?-?[0-9]{1,2}\.[0-9]{2,}[^0-9\n]*-?[0-9]{1,3}\.[0-9]{2,}"
    r"|(?i)(?:\b|_)(?:lng|lon|long|longitude)\\?[\"']?[ ]?[:=][ ]?\\?[\"']?-?[0-9]{1,3}\.[0-9]{2,}[^0-9\n]*-?[0-9]{1,2}\.[0-9]{2,}"
    r"|(?i)POINT ?\(-?[0-9]{1,3}\.[0-9]{2,} -?[0-9]{1,2}\.[0-9]{2,}"
)
COORDINATES_BEGIN = (
    rf"(?:\b|[+\-]){_DEGREES}°?[ ]?[NSns]?[ ]?[,;/ ][ ]?[+\-]?[0-9]{{1,3}}\.[0-9]|\b[0-9]{{1,2}}°"
    r"|(?i)(?:\b|_)l(?:at(?:itude)?|ng|on|ong|ongitude)\\?[\"']?[ ]?[:=][ ]?\\?[\"']?-?[0-9]|(?i)POINT ?\("
)
_FLOAT = re.compile(rb"[+-]?[0-9]{1,3}\.[0-9]+")
_LETTERS = re.compile(rb"(?i)lat|lon|lng|point|[NS]")
_GAP_BYTES_MAX = 48
_FINE = 5
"""Decimals (a metre) from which a pair of fractions without a word is a place."""


def coordinates(data: bytes, start: int, end: int) -> Iterator[Hit]:
    raw = data[start:end]
    values = [found.group() for found in _FLOAT.finditer(raw)]
    if "°".encode() not in raw or len(values) > 1:
        if len(values) < 2 or len(raw) > _GAP_BYTES_MAX + 32 or not _on_earth(values, raw):
            return
        if in_longer_token(data, start, end):
            return
    yield Kind.COORDINATES, start, end, ""


def _on_earth(values: list[bytes], raw: bytes) -> bool:
    """In range; and, where no word says what the pair is, finely given and not two fractions of one."""
    first, second = abs(float(values[0])), abs(float(values[1]))
    if min(first, second) > 90 or max(first, second) > 180:
        return False
    fine = all(len(value.partition(b".")[2]) >= _FINE for value in values[:2])
    return _LETTERS.search(raw) is not None or (
        fine and first <= 90 and min(first, second) >= 0.01 and max(first, second) >= 1
    )
