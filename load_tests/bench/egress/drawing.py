"""Digits and dates of chance, and weighted sums, as identifiers are made of them."""

from collections.abc import Callable
from random import Random


def digits(chance: Random, count: int, first: str = "123456789") -> str:
    return chance.choice(first) + "".join(chance.choice("0123456789") for _ in range(count - 1))


def date(chance: Random, form: str) -> str:
    """A birth date of the 1950s to the 1990s, as `y` `m` `d` stand in the form."""
    parts = {
        "y": f"{chance.randint(50, 99):02}",
        "m": f"{chance.randint(1, 12):02}",
        "d": f"{chance.randint(1, 28):02}",
    }
    return "".join(parts[sign] for sign in form)


def weighted(number: str, weights: str | tuple[int, ...]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(number, map(int, weights), strict=True))


def until(chance: Random, make: Callable[[Random], str | None]) -> str:
    """Schemes leave out numbers whose check digit would be ten."""
    while (made := make(chance)) is None:
        pass
    return made
