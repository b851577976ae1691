"""Identifiers of countries outside Europe, each by its issuer's rule."""

from random import Random

from stdnum import luhn, verhoeff

from load_tests.bench.egress.drawing import date, digits, until, weighted


def ssn(chance: Random) -> str:
    return f"{chance.choice([*range(1, 666), *range(667, 900)]):03}-{chance.randint(1, 99):02}-{chance.randint(1, 9999):04}"


def cpf(chance: Random) -> str:
    number = digits(chance, 9)
    for size in (10, 11):
        rest = weighted(number, tuple(range(size, 1, -1))) * 10 % 11 % 10
        number += str(rest)
    return f"{number[:3]}.{number[3:6]}.{number[6:9]}-{number[9:]}"


def sin(chance: Random) -> str:
    number = digits(chance, 8, "124567")
    number += luhn.calc_check_digit(number)
    return f"{number[:3]}-{number[3:6]}-{number[6:]}"


def tckimlik(chance: Random) -> str:
    number = digits(chance, 9)
    odd, even = sum(map(int, number[::2])), sum(map(int, number[1::2]))
    tenth = (odd * 7 - even) % 10
    return f"{number}{tenth}{(odd + even + tenth) % 10}"


def israel(chance: Random) -> str:
    number = digits(chance, 8)
    return number + luhn.calc_check_digit(number)


def ecuador(chance: Random) -> str:
    number = f"{chance.randint(1, 24):02}" + digits(chance, 7, "012345")
    folded = sum((2 * int(one) - 9 if int(one) > 4 else 2 * int(one)) for one in number[::2]) + sum(
        map(int, number[1::2])
    )
    return number + str(-folded % 10)


def aadhaar(chance: Random) -> str:
    number = digits(chance, 11, "23456789")
    number += verhoeff.calc_check_digit(number)
    return f"{number[:4]} {number[4:8]} {number[8:]}"


def mynumber(chance: Random) -> str:
    number = digits(chance, 11)
    rest = weighted(number[::-1], "23456723456") % 11
    return number + str(0 if rest <= 1 else 11 - rest)


def south_africa(chance: Random) -> str:
    number = date(chance, "ymd") + digits(chance, 4, "0123456789") + "08"
    return number + luhn.calc_check_digit(number)


def rrn(chance: Random) -> str:
    number = date(chance, "ymd") + chance.choice("12") + f"{chance.randint(0, 95):02}" + digits(chance, 3, "0123456789")
    return f"{number[:6]}-{number[6:]}{(11 - weighted(number, '234567892345') % 11) % 10}"


def thailand(chance: Random) -> str:
    number = digits(chance, 12, "12345678")
    rest = (11 - weighted(number, tuple(range(13, 1, -1))) % 11) % 10
    return f"{number[0]}-{number[1:5]}-{number[5:10]}-{number[10:]}-{rest}"


def cedula(chance: Random) -> str:
    number = f"{chance.randint(1, 120):03}" + digits(chance, 7, "0123456789")
    return f"{number[:3]}-{number[3:]}-{luhn.calc_check_digit(number)}"


def cuit(chance: Random) -> str:
    def make(chance: Random) -> str | None:
        number = chance.choice(("20", "23", "27")) + digits(chance, 8)
        rest = (11 - weighted(number, "5432765432") % 11) % 11
        return None if rest == 10 else f"{number[:2]}-{number[2:]}-{rest}"

    return until(chance, make)


def china(chance: Random) -> str:
    number = (
        chance.choice(("110101", "310104", "440305", "510104"))
        + "19"
        + date(chance, "ymd")
        + f"{chance.randint(1, 999):03}"
    )
    return number + "10X98765432"[weighted(number, (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)) % 11]


def rut(chance: Random) -> str:
    number = digits(chance, 8, "12")
    rest = 11 - weighted(number[::-1], "23456723") % 11
    return f"{number[:2]}.{number[2:5]}.{number[5:]}-{'0' if rest == 11 else 'K' if rest == 10 else rest}"


def tfn(chance: Random) -> str:
    def make(chance: Random) -> str | None:
        number = digits(chance, 8)
        rest = weighted(number, (1, 4, 3, 7, 5, 8, 6, 9)) % 11
        return None if rest == 10 else f"{number[:3]} {number[3:6]} {number[6:]}{rest}"

    return until(chance, make)


def pan(chance: Random) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return (
        "".join(chance.choice(letters) for _ in range(3))
        + "P"
        + chance.choice(letters)
        + f"{chance.randint(1, 9999):04}"
        + chance.choice(letters)
    )


def nric(chance: Random) -> str:
    number = digits(chance, 7, "0123456789")
    return f"S{number}{'JZIHGFEDCBA'[weighted(number, '2765432') % 11]}"
