"""Identifiers of Europe's countries, each by its issuer's rule."""

from random import Random

from stdnum import luhn
from stdnum.iso7064 import mod_11_10

from load_tests.bench.egress.drawing import date, digits, until, weighted


def hetu(chance: Random) -> str:
    born, serial = date(chance, "dmy"), chance.randint(2, 899)
    return f"{born}-{serial:03}{'0123456789ABCDEFHJKLMNPRSTUVWXY'[int(f'{born}{serial:03}') % 31]}"


def personnummer(chance: Random) -> str:
    number = date(chance, "ymd") + f"{chance.randint(1, 999):03}"
    return f"{number[:6]}-{number[6:]}{luhn.calc_check_digit(number)}"


def pesel(chance: Random) -> str:
    number = date(chance, "ymd") + digits(chance, 4, "0123456789")
    return number + str(-weighted(number, "1379137913") % 10)


def steuer_id(chance: Random) -> str:
    """Ten digits of which one comes twice and one not at all."""
    left = list("0123456789")
    chance.shuffle(left)
    left[1 + left.index(left[-1]) % 8] = left[-1]
    if left[0] == "0":
        left[0], left[4] = left[4], left[0]
    number = "".join(left)
    if number[0] == "0" or sorted(map(number.count, set(number))) != [1] * 8 + [2]:
        return steuer_id(chance)
    return number + mod_11_10.calc_check_digit(number)


def oib(chance: Random) -> str:
    number = digits(chance, 10)
    return number + mod_11_10.calc_check_digit(number)


def rijksregister(chance: Random) -> str:
    number = date(chance, "ymd") + f"{chance.randint(1, 997):03}"
    rest = 97 - int(number) % 97
    return f"{number[:2]}.{number[2:4]}.{number[4:6]}-{number[6:]}.{rest:02}"


def fodselsnummer(chance: Random) -> str:
    def make(chance: Random) -> str | None:
        number = date(chance, "dmy") + f"{chance.randint(0, 499):03}"
        first = -weighted(number, "376189452") % 11
        if first == 10:
            return None
        second = -weighted(f"{number}{first}", "5432765432") % 11
        return None if second == 10 else f"{number}{first}{second}"

    return until(chance, make)


def baltic(chance: Random) -> str:
    """Estonia's isikukood and Lithuania's asmens kodas."""
    number = chance.choice("34") + date(chance, "ymd") + f"{chance.randint(1, 999):03}"
    rest = weighted(number, "1234567891") % 11
    if rest == 10:
        rest = weighted(number, "3456789123") % 11 % 10
    return f"{number}{rest}"


def amka(chance: Random) -> str:
    number = date(chance, "dmy") + digits(chance, 4, "0123456789")
    return number + luhn.calc_check_digit(number)


def bsn(chance: Random) -> str:
    def make(chance: Random) -> str | None:
        number = digits(chance, 8)
        rest = weighted(number, "98765432") % 11
        return None if rest == 10 else f"{number}{rest}"

    return until(chance, make)


def portugal(chance: Random) -> str:
    number = digits(chance, 8, "12")
    return number + str((11 - weighted(number, "98765432") % 11) % 11 % 10)


def egn(chance: Random) -> str:
    number = date(chance, "ymd") + f"{chance.randint(0, 999):03}"
    return number + str(weighted(number, (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10)


def rodne_cislo(chance: Random) -> str:
    def make(chance: Random) -> str | None:
        number = f"{chance.randint(54, 99):02}" + date(chance, "md") + f"{chance.randint(1, 999):03}"
        rest = int(number) % 11
        return None if rest == 10 else f"{number[:6]}/{number[6:]}{rest}"

    return until(chance, make)


def nhs(chance: Random) -> str:
    def make(chance: Random) -> str | None:
        number = digits(chance, 9)
        rest = 11 - weighted(number, (10, 9, 8, 7, 6, 5, 4, 3, 2)) % 11
        return None if rest == 10 else f"{number[:3]} {number[3:6]} {number[6:]}{rest % 11}"

    return until(chance, make)


def rnokpp(chance: Random) -> str:
    number = digits(chance, 9, "23")
    return number + str(weighted(number, (-1, 5, 7, 9, 4, 6, 10, 5, 7)) % 11 % 10)


def kennitala(chance: Random) -> str:
    def make(chance: Random) -> str | None:
        number = date(chance, "dmy") + f"{chance.randint(20, 99):02}"
        rest = -weighted(number, "32765432") % 11
        return None if rest == 10 else f"{number[:6]}-{number[6:]}{rest}9"

    return until(chance, make)


def inn(chance: Random) -> str:
    number = digits(chance, 10)
    for weights in ((7, 2, 4, 10, 3, 5, 9, 4, 6, 8), (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)):
        number += str(weighted(number, weights) % 11 % 10)
    return number


def snils(chance: Random) -> str:
    number = digits(chance, 9)
    return f"{number[:3]}-{number[3:6]}-{number[6:]} {weighted(number, '987654321') % 101 % 100:02}"


def cnp(chance: Random) -> str:
    number = chance.choice("12") + date(chance, "ymd") + f"{chance.randint(1, 46):02}{chance.randint(1, 999):03}"
    rest = weighted(number, "279146358279") % 11
    return number + str(1 if rest == 10 else rest)


def emso(chance: Random) -> str:
    def make(chance: Random) -> str | None:
        number = date(chance, "dm") + "9" + date(chance, "y") + f"50{chance.randint(0, 999):03}"
        rest = -weighted(number, "765432765432") % 11
        return None if rest == 10 else f"{number}{rest}"

    return until(chance, make)


def ahv(chance: Random) -> str:
    number = "756" + digits(chance, 9, "0123456789")
    number += str(-weighted(number, "131313131313") % 10)
    return f"{number[:3]}.{number[3:7]}.{number[7:11]}.{number[11:]}"


def dni(chance: Random) -> str:
    number = digits(chance, 8)
    return number + "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def nie(chance: Random) -> str:
    first, number = chance.choice("XYZ"), digits(chance, 7)
    return first + number + "TRWAGMYFPDXBNJZSQVHLCKE"[int(str("XYZ".index(first)) + number) % 23]


def pps(chance: Random) -> str:
    number = digits(chance, 7)
    return number + "WABCDEFGHIJKLMNOPQRSTUV"[weighted(number, "8765432") % 23]


def codice_fiscale(chance: Random) -> str:
    odd = dict(
        zip(
            "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            (
                *(first := (1, 0, 5, 7, 9, 13, 15, 17, 19, 21)),
                *first,
                2,
                4,
                18,
                20,
                11,
                3,
                6,
                8,
                12,
                14,
                16,
                10,
                22,
                25,
                24,
                23,
            ),
            strict=True,
        )
    )
    born = f"{chance.randint(50, 99):02}{chance.choice('ABCDEHLMPRST')}{chance.randint(1, 28):02}"
    number = (
        "".join(chance.choice("BCDFGLMNPRSTVZ") for _ in range(6))
        + born
        + chance.choice(("H501", "F205", "L219", "A944"))
    )
    even = sum(int(one) if one.isdigit() else ord(one) - 65 for one in number[1::2])
    return number + chr(65 + (sum(odd[one] for one in number[::2]) + even) % 26)


def nir(chance: Random) -> str:
    number = (
        chance.choice("12")
        + date(chance, "ym")
        + f"{chance.choice([*range(1, 20), *range(21, 96)]):02}{chance.randint(1, 900):03}{chance.randint(1, 999):03}"
    )
    key = 97 - int(number) % 97
    return f"{number[0]} {number[1:3]} {number[3:5]} {number[5:7]} {number[7:10]} {number[10:]} {key:02}"


def cpr(chance: Random) -> str:
    return f"{date(chance, 'dmy')}-{chance.randint(1, 3999):04}"


def svnr(chance: Random) -> str:
    def make(chance: Random) -> str | None:
        serial, born = digits(chance, 3), date(chance, "dmy")
        rest = weighted(serial + born, (3, 7, 9, 5, 8, 4, 2, 1, 6)) % 11
        return None if rest == 10 else f"{serial}{rest} {born}"

    return until(chance, make)
