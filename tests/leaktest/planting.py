"""What is planted: values of every kind that the scanner knows, in sentences of some locale, in one of eight encodings. Out of a seed.

Neither values nor encodings are made with a pattern of the scanner. Left out is what docs/decisions/0017-scanner.md says it does not see.
"""

import base64
import gzip
import json
import re
from collections.abc import Callable, Mapping
from random import Random

import msgspec
import phonenumbers

from load_tests.bench.egress import values
from load_tests.bench.egress.corpus import PLAIN, birth_date
from load_tests.bench.egress.identities import NATIONAL
from load_tests.bench.egress.locales import LOCALES, Locale

WIDE = {sign: sign + 0xFEE0 for sign in range(0x21, 0x7F)}
ENCODINGS: Mapping[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "percent": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "nested JSON": lambda text: json.dumps({"a": json.dumps({"b": text})}),
    "HTML entities": lambda text: "".join(f"&#{ord(sign)};" for sign in text),
    "full-width": lambda text: text.translate(WIDE),
    "zero-width": "\u200b".join,
    "gzip": lambda text: base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode(),
}
KINDS = (*PLAIN, "phone", "birth_date", *NATIONAL)
"""Of national identifiers each scheme is a kind."""
_LABELS = {"iban": "IBAN {}", "coordinates": "GPS {}"}
_NOT_ALNUM = re.compile(r"[\W_]+")
_ASCII_RUN = re.compile(r"[ -~]{8}")
"""Without one a text in base64 is not looked for."""


class Planted(msgspec.Struct, frozen=True):
    """A value, and the sentence that it stands in, encoded: what fields hold. `core`: the value without its separators."""

    kind: str
    encoding: str
    value: str
    encoded: str
    core: str


def core(text: str) -> str:
    return _NOT_ALNUM.sub("", text.casefold())


def pool(seed: int, rounds: int) -> list[Planted]:
    """`rounds` of every kind in every encoding, none of them twice."""
    chance = Random(seed)
    made: dict[str, Planted] = {}
    for _ in range(rounds):
        for kind in KINDS:
            for encoding in ENCODINGS:
                one = drawn(chance, kind, encoding)
                while one.value in made:
                    one = drawn(chance, kind, encoding)
                made[one.value] = one
    return list(made.values())


def drawn(chance: Random, kind: str, encoding: str) -> Planted:
    locale = LOCALES[chance.choice(sorted(LOCALES))]
    value, sentence = _sentence(chance, locale, kind)
    while encoding == "base64" and _ASCII_RUN.search(value) is None:
        value, sentence = _sentence(chance, locale, kind)
    return Planted(kind, encoding, value, ENCODINGS[encoding](sentence), core(value))


def _sentence(chance: Random, locale: Locale, kind: str) -> tuple[str, str]:
    """A value, and a sentence that holds it as people write it."""
    if kind in NATIONAL:
        label, value = values.national(chance, kind)
        return value, f"{label}: {value}"
    match kind:
        case "phone":
            value = _phone(chance)
            template = chance.choice(locale.phone)
        case "birth_date":
            value, template = birth_date(chance, locale.birth), locale.born
        case "email" | "card":
            value = PLAIN[kind](chance)
            template = locale.email if kind == "email" else locale.card
        case _:
            value, template = PLAIN[kind](chance), _LABELS.get(kind, "({})")
    return value, template.format(value)


def _phone(chance: Random) -> str:
    """With its country code, as it stands in a record."""
    number = values.number(chance, chance.choice(values.REGIONS), values.PERSONAL)
    form = chance.choice((phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.E164))
    return phonenumbers.format_number(number, form)
