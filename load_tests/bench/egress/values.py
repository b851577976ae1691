"""Values to plant, made without any pattern of the detector: numbering plans' own examples, check digits computed, names of many scripts."""

import base64
import json
from collections.abc import Callable
from random import Random
from typing import TypeAlias

import phonenumbers
from stdnum import luhn
from stdnum.iso7064 import mod_97_10

from load_tests.bench.egress.drawing import digits
from load_tests.bench.egress.identities import NATIONAL

Value: TypeAlias = str
Plant: TypeAlias = Callable[[Random], Value]

TYPES = tuple(
    getattr(phonenumbers.PhoneNumberType, name)
    for name in ("MOBILE", "FIXED_LINE", "TOLL_FREE", "VOIP", "PREMIUM_RATE", "UAN")
)
PERSONAL = TYPES[:2]
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
FORMATS = (
    phonenumbers.PhoneNumberFormat.INTERNATIONAL,
    phonenumbers.PhoneNumberFormat.E164,
    phonenumbers.PhoneNumberFormat.NATIONAL,
)
_LOCALS = (
    "anna",
    "j.doe",
    "maria_rossi",
    "li-wei",
    "o.brien",
    "x",
    "k9",
    "first.middle.last",
    "müller",
    "иван",
    "用户",
    "josé",
    "sales+eu",
    "ayşe",
)
_DOMAINS = ("example.com", "mail.example.org", "example.co.uk", "bücher.example", "xn--bcher-kva.example", "пример.рф", "例子.公司", "a-b.example.io", "sub.sub2.example.travel")  # fmt: skip
_ISSUED = (("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15), ("36", 14), ("6011", 16), ("65", 16), ("3528", 16), ("62", 16), ("2200", 16), ("5018", 16))  # fmt: skip
_BANKED = {
    "DE": "n18", "GB": "a4n14", "FR": "n23", "ES": "n20", "IT": "a1n22", "NL": "a4n10", "BE": "n12", "AT": "n16", "CH": "n17", "PL": "n24", "SE": "n20",
    "DK": "n14", "FI": "n14", "NO": "n11", "PT": "n21", "IE": "a4n14", "CZ": "n20", "GR": "n23", "TR": "n22", "UA": "n25", "RO": "a4n16", "HU": "n24",
}  # fmt: skip


def number(chance: Random, region: str, kinds: tuple[int, ...] = TYPES) -> phonenumbers.PhoneNumber:
    """A plan's own example of some type, its last digits drawn anew while the plan takes them."""
    order = list(kinds)
    chance.shuffle(order)
    example = next(
        (found for kind in order if (found := phonenumbers.example_number_for_type(region, kind)) is not None), None
    )
    example = example or phonenumbers.example_number(region)
    if example is None or example.national_number is None:
        raise ValueError(f"the numbering plan of {region} has no example")
    for _ in range(4):
        drawn = phonenumbers.PhoneNumber()
        drawn.merge_from(example)
        drawn.national_number = example.national_number // 1000 * 1000 + chance.randrange(1000)
        if phonenumbers.is_valid_number_for_region(drawn, region):
            return drawn
    return example


def phone(chance: Random, region: str) -> Value:
    """As people of the region and others write it; in RFC 3966's form now and then."""
    found = number(chance, region, PERSONAL if chance.random() < 0.7 else TYPES)
    return phonenumbers.format_number(found, chance.choice(FORMATS))


def email(chance: Random) -> Value:
    return f"{chance.choice(_LOCALS)}{chance.choice(('', str(chance.randint(1, 99))))}@{chance.choice(_DOMAINS)}"


def card(chance: Random) -> Value:
    prefix, size = chance.choice(_ISSUED)
    whole = prefix + "".join(chance.choice("0123456789") for _ in range(size - 1 - len(prefix)))
    whole += luhn.calc_check_digit(whole)
    groups = {16: (4, 4, 4, 4), 15: (4, 6, 5), 14: (4, 6, 4)}[size]
    return grouped(whole, groups, chance.choice(("", " ", "-")))


def grouped(whole: str, groups: tuple[int, ...], separator: str) -> str:
    parts, at = [], 0
    for size in groups:
        parts.append(whole[at : at + size])
        at += size
    return separator.join(parts)


def iban(chance: Random) -> Value:
    """A country's length and alphabet, its two check digits computed. National check digits are computed where every bank checks them: not here."""
    country = chance.choice(sorted(_BANKED))
    form, account = _BANKED[country], ""
    if form.startswith("a"):
        account = "".join(chance.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(int(form[1])))
        form = form[2:]
    account += digits(chance, int(form[1:]), "0123456789")
    whole = country + mod_97_10.calc_check_digits(f"{account}{country}") + account
    return chance.choice((whole, " ".join(whole[at : at + 4] for at in range(0, len(whole), 4))))


def ipv4(chance: Random) -> Value:
    return f"{chance.choice((5, 46, 81, 92, 151, 188, 203, 10, 192))}.{chance.randint(0, 255)}.{chance.randint(0, 255)}.{chance.randint(1, 254)}"


def ipv6(chance: Random) -> Value:
    groups = [f"{chance.getrandbits(16):x}" for _ in range(6)]
    return chance.choice(
        (
            f"2001:db8:{':'.join(groups)}",
            f"2a02:{groups[0]}:{groups[1]}::{groups[2]}:{groups[3]}",
            f"fe80::{':'.join(groups[:4])}",
        )
    )


def ip(chance: Random) -> Value:
    return ipv4(chance) if chance.random() < 0.7 else ipv6(chance)


def mac(chance: Random) -> Value:
    pairs = [f"{chance.getrandbits(8):02x}" for _ in range(6)]
    return chance.choice(
        (":".join(pairs), "-".join(pairs).upper(), ".".join(pairs[at] + pairs[at + 1] for at in (0, 2, 4)))
    )


def token(
    chance: Random, size: int, alphabet: str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
) -> str:
    return "".join(chance.choice(alphabet) for _ in range(size))


def api_key(chance: Random) -> Value:
    upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return chance.choice((
        "AKIA" + token(chance, 16, upper), "ghp_" + token(chance, 36), "glpat-" + token(chance, 20), "xoxb-" + token(chance, 40, "0123456789"),
        "sk_live_" + token(chance, 24), "AIza" + token(chance, 35), "npm_" + token(chance, 36), "hf_" + token(chance, 34),
    ))  # fmt: skip


def jwt(chance: Random) -> Value:
    parts = ({"alg": "ES256", "typ": "JWT"}, {"sub": token(chance, 12), "iat": chance.randint(10**9, 2 * 10**9)})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, token(chance, 86)])


def url(chance: Random) -> Value:
    scheme = chance.choice(("https", "postgresql", "redis", "amqp", "mongodb+srv"))
    return f"{scheme}://{chance.choice(('svc', 'admin', 'app_user'))}:{token(chance, 12)}@{chance.choice(('db.internal', 'example.com:5432', '10.0.3.7'))}/main"


def coordinates(chance: Random) -> Value:
    north, east = chance.uniform(-65, 70), chance.choice((-1, 1)) * chance.uniform(1, 179)
    return f"{north:.6f}, {east:.6f}"


def national(chance: Random, scheme: str) -> tuple[str, Value]:
    """What people call it, and one."""
    label, make = NATIONAL[scheme]
    return label, make(chance)
