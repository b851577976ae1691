"""What every valid number of a scheme has in common, told in a microsecond: the library, which takes ten and more, is asked about those
alone. It has the last word; a scheme without a rule here is asked about always. Pure."""

import functools
import operator
from collections.abc import Callable, Mapping
from typing import TypeAlias

from cells.egress.scanner.libraries import library

Digits: TypeAlias = tuple[int, ...]
Rule: TypeAlias = Callable[[Digits], bool]

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def _sum(modulus: int, rests: tuple[int, ...], *weights: int) -> Rule:
    """Digits by their weights, the check digit's among them, leave one of these rests: two where a rest of ten has a digit of its own."""
    return lambda digits: sum(map(operator.mul, weights, digits)) % modulus in rests


def _luhn(digits: Digits) -> bool:
    return (sum(digits[-1::-2]) + sum(map(_DOUBLED.__getitem__, digits[-2::-2]))) % 10 == 0


def _mod_11_10(digits: Digits) -> bool:
    """ISO 7064."""
    check = 10
    for digit in digits[:-1]:
        check = ((check + digit) % 10 or 10) * 2 % 11
    return (check + digits[-1]) % 10 == 1


def _baltic(digits: Digits) -> bool:
    rest: int = sum(map(operator.mul, (1, 2, 3, 4, 5, 6, 7, 8, 9, 1), digits)) % 11
    if rest == 10:
        rest = sum(map(operator.mul, (3, 4, 5, 6, 7, 8, 9, 1, 2, 3), digits)) % 11
    return rest % 10 == digits[-1]


def _verhoeff(digits: Digits) -> bool:
    """By the library's own table, without what it does around it."""
    rest: int = library("stdnum.verhoeff").checksum("".join(map(str, digits)))
    return rest == 0


def _number(digits: Digits) -> int:
    return functools.reduce(lambda number, digit: number * 10 + digit, digits)


def _belgian(digits: Digits) -> bool:
    """Of a century or the next."""
    first, check = _number(digits[:9]), _number(digits[9:])
    return check in (97 - first % 97, 97 - (first + 2_000_000_000) % 97)


RULES: Mapping[tuple[str, int], Rule] = {
    ("au.tfn", 8): _sum(11, (0,), 1, 4, 3, 7, 5, 8, 6, 9),
    ("au.tfn", 9): _sum(11, (0,), 1, 4, 3, 7, 5, 8, 6, 9, 10),
    ("ca.sin", 9): _luhn,
    ("nl.bsn", 9): _sum(11, (0,), 9, 8, 7, 6, 5, 4, 3, 2, -1),
    ("il.idnr", 9): _luhn,
    ("pt.nif", 9): _sum(11, (0, 1), 9, 8, 7, 6, 5, 4, 3, 2, 1),
    ("se.personnummer", 10): _luhn,
    ("is_.kennitala", 10): _sum(11, (0,), 3, 2, 7, 6, 5, 4, 3, 2, 1, 0),
    ("bg.egn", 10): _sum(11, (0, 10), 2, 4, 8, 5, 10, 9, 7, 3, 6, -1),
    ("cz.rc", 10): _sum(11, (0, 10), 1, -1, 1, -1, 1, -1, 1, -1, 1, -1),
    ("sk.rc", 10): _sum(11, (0, 10), 1, -1, 1, -1, 1, -1, 1, -1, 1, -1),
    ("at.vnr", 10): _sum(11, (0,), 3, 7, 9, -1, 5, 8, 4, 2, 1, 6),
    ("gb.nhs", 10): _sum(11, (0,), 10, 9, 8, 7, 6, 5, 4, 3, 2, 1),
    ("ua.rntrc", 10): _sum(11, (0, 10), -1, 5, 7, 9, 4, 6, 10, 5, 7, -1),
    ("bg.pnf", 10): _sum(10, (0,), 21, 19, 17, 13, 11, 9, 7, 3, 1, -1),
    ("br.cpf", 11): _sum(11, (0, 1), 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1),
    ("pl.pesel", 11): _sum(10, (0,), 1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1),
    ("tr.tckimlik", 11): _sum(10, (0,), 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1),
    ("de.idnr", 11): _mod_11_10,
    ("hr.oib", 11): _mod_11_10,
    ("be.nn", 11): _belgian,
    ("be.bis", 11): _belgian,
    ("no.fodselsnummer", 11): _sum(11, (0,), 5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1),
    ("ee.ik", 11): _baltic,
    ("lt.asmens", 11): _baltic,
    ("gr.amka", 11): _luhn,
    ("ar.cuit", 11): _sum(11, (0, 10), 5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1),
    ("in_.aadhaar", 12): _verhoeff,
    ("jp.in_", 12): _sum(11, (0, 1), 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1),
    ("ru.inn", 12): _sum(11, (0, 10), 3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8, -1),
    ("ro.cnp", 13): _sum(11, (0, 9), 2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9, -1),
    ("za.idnr", 13): _luhn,
    ("kr.rrn", 13): _sum(11, (0, 1), 2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 1),
    ("th.pin", 13): _sum(11, (0, 1), 2, 1, 0, -1, -2, -3, -4, -5, -6, -7, -8, -9, 1),
    ("si.emso", 13): _sum(11, (0, 1), 7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1),
    ("ch.ssn", 13): _sum(10, (0,), 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1),
    ("fr.nif", 13): lambda digits: _number(digits[:10]) % 511 == _number(digits[10:]),
    ("in_.vid", 16): _verhoeff,
}
"""By scheme and number of digits; of digits alone."""
