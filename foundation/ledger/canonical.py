"""RFC 8785, the JSON Canonicalization Scheme: one spelling for each value. Pure."""

import json
import math
from typing import Any

_string = json.JSONEncoder(ensure_ascii=False).encode
_EXACT_MAX = 1 << 53
"""Whole numbers up to here are themselves as doubles (RFC 7493 section 2.2); beyond, write text."""


def canonical(value: Any) -> bytes:
    """Raises ValueError for what has no such spelling: numbers that are no exact double, lone surrogates, other types."""
    try:
        return _text(value).encode("utf-8")
    except UnicodeEncodeError as exc:
        raise ValueError("text with half of a surrogate pair") from exc
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def _text(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return _string(value)
        case int():
            if abs(value) > _EXACT_MAX:
                raise ValueError(f"{value} is no exact double; write it as text")
            return str(value)
        case float():
            return _number(value)
        case list() | tuple():
            return f"[{','.join(_text(item) for item in value)}]"
        case dict():
            return f"{{{','.join(f'{_string(name)}:{_text(value[name])}' for name in _ordered(value))}}}"
        case _:
            raise ValueError(f"no JSON: a {type(value).__name__}")


def _ordered(members: dict[Any, Any]) -> list[str]:
    """The names by their UTF-16 code units."""
    if not all(isinstance(name, str) for name in members):
        raise ValueError("names of members are text")
    plain = all(name.isascii() for name in members)
    return sorted(members, key=None if plain else lambda name: name.encode("utf-16-be"))


def _number(value: float) -> str:
    """As ECMAScript writes it (ECMA-262, Number::toString)."""
    if not math.isfinite(value):
        raise ValueError("no JSON: a number that is not finite")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    significant = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(significant))
    return sign + _placed(significant.rstrip("0"), point)


def _placed(digits: str, point: int) -> str:
    """`digits` with the decimal point after the `point`-th of them."""
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{'+' if point > 0 else '-'}{abs(point - 1)}"
