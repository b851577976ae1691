"""Check digits of identifiers that the library does not know, each after its issuer's published rule. Pure."""

import datetime
from collections.abc import Callable


def snils(number: str) -> bool:
    """Russian insurance number: two check digits, modulo 101 over nine weighted ones."""
    total = sum(int(digit) * weight for digit, weight in zip(number[:9], range(9, 0, -1), strict=True))
    return total % 101 % 100 == int(number[9:]) and int(number[:9]) > 0


_NRIC = {
    "S": (0, "JZIHGFEDCBA"),
    "T": (4, "JZIHGFEDCBA"),
    "F": (0, "XWUTRQPNMLK"),
    "G": (4, "XWUTRQPNMLK"),
    "M": (3, "KLJNPQRTUWX"),
}
"""First letter → what it adds, and the letters by remainder."""


def nric(number: str) -> bool:
    """Singapore's NRIC and FIN: a letter by the remainder of a weighted sum."""
    if number[0] not in _NRIC:
        return False
    added, letters = _NRIC[number[0]]
    total = added + sum(int(digit) * weight for digit, weight in zip(number[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    return letters[total % 11] == number[8]


def hkid(number: str) -> bool:
    """Hong Kong's identity card: modulo 11, letters counted from A = 10, a missing first letter as 36."""
    values = [36] * (9 - len(number)) + [int(sign, 36) for sign in number[:-1]]
    total = sum(value * weight for value, weight in zip(values, range(9, 1, -1), strict=True))
    return (total + int(number[-1], 36)) % 11 == 0


def taiwan(number: str) -> bool:
    """Taiwan's identity card: the letter counts as two digits."""
    first = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(number[0]) + 10
    digits = [first // 10, first % 10, *map(int, number[1:])]
    return (
        sum(digit * weight for digit, weight in zip(digits, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1), strict=True)) % 10 == 0
    )


def nino(number: str) -> bool:
    """British insurance number: no check digit, but letters and prefixes that are never given."""
    never = number[:2] in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}
    return not never and not set(number[:2]) & set("DFIQUV") and number[1] != "O" and number[8] in "ABCD"


def resident(number: str) -> bool:
    """China's resident identity number: a date and ISO 7064 modulo 11-2. Counties come and go: no list of them is held against it."""
    try:
        datetime.date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(digit) * weight for digit, weight in zip(number[:17], weights, strict=True))
    return 1900 <= int(number[6:10]) <= 2099 and "10X98765432"[total % 11] == number[17]


OWN: dict[str, Callable[[str], bool]] = {
    "cn.ric": resident,
    "ru.snils": snils,
    "sg.nric": nric,
    "hk.hkid": hkid,
    "tw.id": taiwan,
    "gb.nino": nino,
}
