"""A corpus out of a seed: prose in twenty locales, logs and JSON with values planted, and what a scanner finds of them and besides."""

import datetime
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Protocol

import msgspec

from load_tests.bench.egress import values
from load_tests.bench.egress.clean import plain, stamp, structured
from load_tests.bench.egress.locales import LOCALES, Locale


class Planted(msgspec.Struct, frozen=True):
    """`form` is prose, log or json; spans count bytes."""

    kind: str
    form: str
    start: int
    end: int
    detail: str


class Seen(Protocol):
    """What any scanner tells of a place."""

    @property
    def kind(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


class Corpus:
    """Bytes that grow line by line, and what was planted in them."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self.size = 0
        self.planted: list[Planted] = []

    def add(self, line: str, value: str = "", kind: str = "", form: str = "", detail: str = "") -> None:
        """Adds a line; the value stands in it once."""
        raw = line.encode()
        if kind:
            at = raw.index(value.encode())
            self.planted.append(Planted(kind, form, self.size + at, self.size + at + len(value.encode()), detail))
        self._lines.append(raw)
        self.size += len(raw) + 1

    def text(self) -> bytes:
        return b"".join(line + b"\n" for line in self._lines)


_KEYED: dict[str, tuple[str, ...]] = {
    "email": ("email", "user_email", "to"), "phone": ("phone", "phoneNumber", "msisdn", "mobile_phone"), "card": ("card", "card_number", "pan"),
    "iban": ("iban", "account"), "ip": ("client_ip", "remote_addr", "ip"), "mac": ("mac", "device_mac"), "jwt": ("token", "session"),
    "api_key": ("key", "api_key"), "url_credentials": ("dsn", "url"), "coordinates": ("position", "latlng"), "birth_date": ("birth_date", "dateOfBirth", "dob"),
}  # fmt: skip
"""What logs and JSON call a value of a kind."""

PLAIN: dict[str, values.Plant] = {
    "email": values.email, "card": values.card, "iban": values.iban, "ip": values.ip, "mac": values.mac, "jwt": values.jwt, "api_key": values.api_key,
    "url_credentials": values.url, "coordinates": values.coordinates,
}  # fmt: skip
KINDS = (*PLAIN, "phone", "birth_date", "national_id")


def planted(seed: int, rounds: int) -> Corpus:
    """`rounds` values of each kind, form and locale."""
    chance, corpus = Random(seed), Corpus()
    for _ in range(rounds):
        for locale in LOCALES.values():
            for kind in KINDS:
                for plant in (prose, log, document):
                    plant(corpus, chance, locale, kind)
    return corpus


def sparse(seed: int, size: int, form: str, every: int) -> Corpus:
    """At least `size` bytes of a form, in which each so many-th line has a value of some kind and locale."""
    chance, corpus = Random(seed), Corpus()
    fillers: dict[str, Callable[[Random, Locale], str]] = {
        "prose": _sentences,
        "log": lambda chance, _: plain(chance),
        "json": lambda chance, _: structured(chance),
    }
    plant = {"prose": prose, "log": log, "json": document}[form]
    number = 0
    while corpus.size < size:
        locale = chance.choice(list(LOCALES.values()))
        if number % every:
            corpus.add(fillers[form](chance, locale))
        else:
            plant(corpus, chance, locale, chance.choice(KINDS))
        number += 1
    return corpus


def _sentences(chance: Random, locale: Locale) -> str:
    return " ".join(chance.choice(locale.fillers) for _ in range(4))


def drawn(chance: Random, locale: Locale, kind: str) -> tuple[str, str]:
    """A value of the kind as the locale has it, and what it is called."""
    match kind:
        case "phone":
            region = locale.region if chance.random() < 0.5 else chance.choice(values.REGIONS)
            return values.phone(chance, region), region
        case "birth_date":
            return birth_date(chance, locale.birth), ""
        case "national_id":
            label, value = values.national(chance, chance.choice(locale.schemes))
            return value, label
        case _:
            return PLAIN[kind](chance), ""


def birth_date(chance: Random, form: str) -> str:
    return datetime.date(chance.randint(1940, 2006), chance.randint(1, 12), chance.randint(1, 28)).strftime(form)


def prose(corpus: Corpus, chance: Random, locale: Locale, kind: str) -> None:
    value, label = drawn(chance, locale, kind)
    templates: dict[str, Sequence[str]] = {
        "email": (locale.email,), "card": (locale.card,), "phone": locale.phone, "birth_date": (locale.born,), "national_id": (f"{label}: {{}}.", f"{label} {{}}"),
        "iban": ("IBAN {}.", "IBAN: {}"), "coordinates": ("({})", "GPS {}"),
    }  # fmt: skip
    sentence = chance.choice(templates.get(kind, ("{}", "({})"))).format(value)
    filler = chance.choice(locale.fillers)
    corpus.add(f"{filler} {sentence} {chance.choice(locale.fillers)}", value, kind, "prose", label)


def log(corpus: Corpus, chance: Random, locale: Locale, kind: str) -> None:
    if kind == "birth_date":
        value, label = birth_date(chance, "%Y-%m-%d"), ""
    else:
        value, label = drawn(chance, locale, kind)
    name = chance.choice(_KEYED.get(kind, (label.replace(" ", "_"),)))
    quoted = f'"{value}"' if " " in value else value
    corpus.add(
        f"{stamp(chance)} INFO api req={chance.getrandbits(64):016x} {name}={quoted} status=200",
        value,
        kind,
        "log",
        label,
    )


def document(corpus: Corpus, chance: Random, locale: Locale, kind: str) -> None:
    value, label = (birth_date(chance, "%Y-%m-%d"), "") if kind == "birth_date" else drawn(chance, locale, kind)
    name = chance.choice(_KEYED.get(kind, (label,)))
    body = {
        "id": f"{chance.getrandbits(128):032x}",
        "at": chance.randint(10**12, 2 * 10**12),
        "user": {name: value, "active": True},
    }
    corpus.add(json.dumps(body, ensure_ascii=False), value, kind, "json", label)


class Held(msgspec.Struct, frozen=True):
    recall: dict[tuple[str, str], tuple[int, int]]
    """(kind, form) → found, planted."""
    missed: tuple[Planted, ...]


def held(corpus: Corpus, found: Iterable[Seen], same: Callable[[str, str], bool] = str.__eq__) -> Held:
    """A planted value is found where a finding of its kind covers at least half of it."""
    counted: dict[tuple[str, str], tuple[int, int]] = {}
    missed = []
    by_start = sorted(found, key=lambda one: one.start)
    for one in sorted(corpus.planted, key=lambda it: it.start):
        hit = any(same(other.kind, one.kind) and _covers(other, one) for other in _around(by_start, one))
        was, of = counted.get((one.kind, one.form), (0, 0))
        counted[one.kind, one.form] = (was + hit, of + 1)
        if not hit:
            missed.append(one)
    return Held(counted, tuple(missed))


def _covers(seen: Seen, one: Planted) -> bool:
    return 2 * (min(seen.end, one.end) - max(seen.start, one.start)) >= one.end - one.start


def _around(by_start: list[Seen], one: Planted) -> Iterator[Seen]:
    """Findings that may overlap, none of them longer than a line."""
    from bisect import bisect_left

    at = bisect_left(by_start, one.start - 4096, key=lambda it: it.start)
    while at < len(by_start) and by_start[at].start < one.end:
        yield by_start[at]
        at += 1
