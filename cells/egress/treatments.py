"""What each treatment does to one value, which `values` has read: another value, or UNFIT, which never leaves. Pure."""

import bisect
import datetime
import ipaddress
import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from cells.egress.ages import bands
from cells.egress.remembered import Remembered
from cells.egress.tokens import token
from cells.egress.values import KINDS, UNFIT, Kind, NoValue
from cells.egress.wording import KEEP, Treatment
from foundation.mute import Secret

Function: TypeAlias = Callable[[Any], Any]

_WHOLE_MIN = -(1 << 63)
HIDDEN_MIN = 4
"""So many characters at least stay behind where a part of a value is shown."""
ADDRESS_CHARS_MAX = 320
INITIALS_MAX = 6
_DOMAINS_MAX = 4096
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}\Z")
_POSTAL = re.compile(r"[A-Z0-9]{3,10}\Z")
_GEOHASH = re.compile(r"[0-9b-hjkmnp-z]{6,12}\Z")
_POINT = re.compile(r"\s*(-?[0-9]{1,2}(?:\.[0-9]{1,15})?)\s*,\s*(-?[0-9]{1,3}(?:\.[0-9]{1,15})?)\s*\Z")
_BASE32 = "0123456789bcdefghjkmnpqrstuvwxyz"


class Means(msgspec.Struct, frozen=True):
    """What treatments rest on beside the value: the day that ages are counted to, keys for tokens by join name (None: this cell's and
    purpose's own), the contract's hierarchies."""

    day: datetime.date
    keys: Mapping[str | None, Secret[bytes]]
    hierarchies: Mapping[str, Mapping[str, str]]


class Unmeant(Exception):
    """A treatment needs what is not there: a join key that was not granted, a hierarchy that the contract does not have."""


def made(treatment: Treatment, means: Means) -> Function:
    """The function for values that fit it. Raises Unmeant. `drop`, `walk` and `scan` are made elsewhere."""
    if treatment.kind == KEEP:
        return _same
    maker = _MAKERS.get(treatment.kind)
    if maker is None:
        raise Unmeant(f"{treatment.kind} is no treatment of single values")
    return maker(treatment, means)


def kind_of(treatment: Treatment, of_type: str) -> Kind | None:
    """What is left of a column of that type; None: nothing."""
    match treatment.kind:
        case "drop":
            return None
        case "keep" | "walk":
            return KINDS.get(of_type)
        case "year" | "bin":
            return Kind.INT
        case _:
            return Kind.TEXT


def _same(value: Any) -> Any:
    return value


def key_of(treatment: Treatment, means: Means) -> bytes:
    """Of tokens. Raises Unmeant."""
    name = treatment.arguments[0] if treatment.arguments else None
    key = means.keys.get(name)
    if key is None:
        raise Unmeant(
            "this cell has no key for tokens" if name is None else f"join key {name} is not granted to this cell"
        )
    return key.reveal()


def _hierarchy(treatment: Treatment, means: Means) -> Mapping[str, str]:
    name = treatment.arguments[0]
    if name not in means.hierarchies:
        raise Unmeant(f"the contract has no hierarchy {name}")
    return means.hierarchies[name]


def mask_domain(value: str) -> str | NoValue:
    """`ann@mail.example.com` → `mail.example.com`, lower case."""
    local, _, domain = value.rpartition("@")
    if not local or "@" in local or " " in local or not local.isprintable() or len(value) > ADDRESS_CHARS_MAX:
        return UNFIT
    found: str | NoValue = DOMAINS[domain]
    return found


def _domain(domain: str) -> str | NoValue:
    return domain.lower() if _DOMAIN.match(domain) else UNFIT


DOMAINS = Remembered(_domain, _DOMAINS_MAX)
"""Of addresses there are many, of their domains few."""


def last(count: int) -> Function:
    """The last letters or digits of what has at least HIDDEN_MIN more of them."""

    def treat(value: str) -> str | NoValue:
        shown = [char for char in value if char.isalnum()]
        return UNFIT if len(shown) < count + HIDDEN_MIN else "".join(shown[-count:])

    return treat


def subnet(value: str) -> str | NoValue:
    """The /24 of an IPv4 address, the /48 of an IPv6 one; an IPv4 address that is written as IPv6 is one all the same, as is one that 6to4
    (RFC 3056) puts into the first 48 bits."""
    try:
        address = ipaddress.ip_address(value.strip())
    except ValueError:
        return UNFIT
    if isinstance(address, ipaddress.IPv6Address):
        within = address.ipv4_mapped or address.sixtofour
        if within is None:
            return str(ipaddress.ip_network((int(address), 48), strict=False))
        address = within
    return str(ipaddress.ip_network((int(address), 24), strict=False))


def initials(value: str) -> str | NoValue:
    """`Ann-Marie van Dijk` → `A. v. D.`; a name that is all initials says nothing less by them."""
    words = value.split()
    if not words or not any(len(word) > 2 for word in words) or not all(word[0].isalpha() for word in words):
        return UNFIT
    return " ".join(f"{word[0]}." for word in words[:INITIALS_MAX])


def age_band(width: int, day: datetime.date) -> Function:
    """Completed years on `day` as a band: `30-39`, `90+`."""
    return lambda born: bands(width, day)[born]


def postal(count: int) -> Function:
    """The first letters and digits of a postal code that has at least two more."""

    def treat(value: str) -> str | NoValue:
        plain = value.upper().replace(" ", "").replace("-", "") if len(value) <= 20 else ""
        return plain[:count] if _POSTAL.match(plain) and len(plain) >= count + 2 else UNFIT

    return treat


def month(value: datetime.date) -> str:
    return f"{value.year:04d}-{value.month:02d}"


def year(value: datetime.date) -> int:
    return value.year


def geohash(count: int) -> Function:
    """The first characters of a geohash, or of that of `latitude,longitude`. Five are 4.9 km: no precise location any more."""

    def treat(value: str) -> str | NoValue:
        if _GEOHASH.match(value):
            return value[:count]
        found = _POINT.match(value) if len(value) <= 60 else None
        if found is None:
            return UNFIT
        latitude, longitude = float(found[1]), float(found[2])
        return _hashed(latitude, longitude, count) if abs(latitude) <= 90 and abs(longitude) <= 180 else UNFIT

    return treat


def _hashed(latitude: float, longitude: float, count: int) -> str:
    spans = [[-180.0, 180.0], [-90.0, 90.0]]
    point, found, bits = (longitude, latitude), "", 0
    for step in range(5 * count):
        span, at = spans[step % 2], point[step % 2]
        middle = (span[0] + span[1]) / 2
        upper = at >= middle
        span[0 if upper else 1] = middle
        bits = bits * 2 + upper
        if step % 5 == 4:
            found, bits = found + _BASE32[bits], 0
    return found


def bin_of(width: int) -> Function:
    """The lower bound of the bin: multiples of `width`, downwards for numbers below zero, too. One that no bigint holds is unfit."""

    def treat(value: int) -> int | NoValue:
        low = value - value % width
        return low if low >= _WHOLE_MIN else UNFIT

    return treat


def bins(bounds: tuple[float, ...], words: tuple[str, ...]) -> Function:
    """`<0`, `0..18`, `18..65`, `>=65`: a bin has its lower bound and not its upper one."""
    inner = [f"{low}..{high}" for low, high in itertools.pairwise(words)]
    labels = [f"<{words[0]}", *inner, f">={words[-1]}"]

    def treat(value: Any) -> str:
        return labels[bisect.bisect_right(bounds, float(value))]

    return treat


def level(hierarchy: Mapping[str, str]) -> Function:
    """What the contract's hierarchy puts the value under; what it does not list is unfit."""
    return lambda value: hierarchy.get(value, UNFIT)


def _number(treatment: Treatment) -> int:
    return int(treatment.arguments[0])


_MAKERS: Mapping[str, Callable[[Treatment, Means], Function]] = {
    "mask_domain": lambda _stated, _means: mask_domain,
    "last": lambda stated, _means: last(_number(stated)),
    "subnet": lambda _stated, _means: subnet,
    "initials": lambda _stated, _means: initials,
    "token": lambda stated, means: token(key_of(stated, means)),
    "age_band": lambda stated, means: age_band(_number(stated), means.day),
    "postal": lambda stated, _means: postal(_number(stated)),
    "month": lambda _stated, _means: month,
    "year": lambda _stated, _means: year,
    "geohash": lambda stated, _means: geohash(_number(stated)),
    "bin": lambda stated, _means: bin_of(_number(stated)),
    "bins": lambda stated, _means: bins(stated.numbers, stated.arguments),
    "level": lambda stated, means: level(_hierarchy(stated, means)),
}
