"""Where words stand that may announce a number. Texts between such words and a number of which they say nothing are remembered:
the same keys stand in every line of a log. Pure."""

import functools
import re
from collections.abc import Callable, Sequence

from cells.egress.scanner.context import REMEMBERED, Words
from cells.egress.scanner.patterns import Pattern

TEXT_BYTES_MAX = 160
"""From a word to the next digit: of a longer text nothing is remembered."""
BACK_BYTES = 8
"""Before that digit, from where on is looked for words again: a key's beginning with a digit in it may begin there."""
_LINE_END = ord("\n")
_STOP = re.compile(rb"[0-9\n]")


def announced(
    opens: Pattern, words: Sequence[Words], others: Pattern
) -> Callable[[bytes, int], tuple[int, int] | None]:
    """`opens` finds the beginnings of all of these words and of whatever else is looked for with them; `others` what else may begin in a
    text that ends with the first digit of a number, or may reach over that digit."""

    @functools.lru_cache(REMEMBERED)
    def spoken(text: bytes, begin: int) -> tuple[re.Pattern[bytes], ...] | None:
        """How numbers are written of which a text speaks; None where something else may begin in it."""
        if others.first(text)[0] >= 0:
            return None
        return tuple(one.form for one in words if not one.silent(text, begin))

    def sign(data: bytes, at: int) -> tuple[int, int] | None:
        start, end = opens.first(data, at)
        while start >= 0:
            stop = _STOP.search(data, start, start + TEXT_BYTES_MAX)
            digit = len(data) if stop is None else stop.start()
            if end > digit or not data[digit + 1 : digit + 2].isdigit() or data[digit] == _LINE_END:
                # A digit may belong to what begins here; one alone may be the number of one of several (`phone_2`).
                return start, start
            before = 1 if start else 0
            forms = spoken(data[start - before : digit + 1], before)
            if forms is None or (forms and _written(forms, data, digit)):
                return start, start
            start, end = opens.first(data, max(start + 1, digit - BACK_BYTES))
        return None

    return sign


def _written(forms: Sequence[re.Pattern[bytes]], data: bytes, digit: int) -> bool:
    return any(form.match(data, digit) for form in forms)
