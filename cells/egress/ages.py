"""Bands of ages by the day of birth, remembered: there are few days, and many people. Pure but for that."""

import datetime
import functools
import sys

from cells.egress.remembered import Remembered
from cells.egress.values import UNFIT, NoValue

AGE_OPEN = 90
"""Ages from here on are one band, as 45 CFR 164.514(b)(2)(i)(C) has it."""
AGE_MAX = 130
DAYS_MAX = 1 << 16
"""Days of birth whose band is remembered: all of a century and more."""
TABLES_MAX = 2
"""Of so many widths and days at once, whoever asks: plans hold no table of their own."""


@functools.lru_cache(maxsize=TABLES_MAX)
def bands(width: int, day: datetime.date) -> Remembered:
    """Day of birth → completed years on `day` as a band of that width: `30-39`, `90+`; UNFIT where nobody is so old."""

    def band(born: datetime.date) -> str | NoValue:
        age = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
        if not 0 <= age <= AGE_MAX:
            return UNFIT
        low = age - age % width
        return sys.intern(f"{AGE_OPEN}+" if age >= AGE_OPEN else f"{low}-{min(low + width, AGE_OPEN) - 1}")

    return Remembered(band, DAYS_MAX)
