"""Does a parsed TOML document have the shape of a struct? Every mistake, not only the first; pure."""

import datetime
import types
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from routing_rules.hints import shown
from routing_rules.policy.key_lines import Path
from routing_rules.policy.mistakes import Mistakes

S = TypeVar("S", bound=msgspec.Struct)


def read(document: object, shape: type[S], at: Path, mistakes: Mistakes) -> S | None:
    """`document` as `shape`, or None after adding what is wrong. An unknown key is a mistake but does not hide the rest."""
    if not _fits(document, shape, at, mistakes):
        return None
    return msgspec.convert(document, shape, strict=True)


def _fits(value: object, shape: Any, at: Path, mistakes: Mistakes) -> bool:
    """False if `value` cannot be converted; unknown keys alone leave it True."""
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        return _fits_struct(value, shape, at, mistakes)
    origin, members = get_origin(shape), get_args(shape)
    if origin in (Union, types.UnionType):  # TOML has no null: a key that may be None is simply left out
        return _fits(value, next(one for one in members if one is not type(None)), at, mistakes)
    if origin is dict:
        if not isinstance(value, dict):
            mistakes.add(at, f"is {shown(value)}, but must be a table")
            return False
        every = [_fits(inner, members[1], (*at, str(key)), mistakes) for key, inner in value.items()]
        return all(every)
    if origin is tuple:
        if not isinstance(value, list):
            mistakes.add(at, f"is {shown(value)}, but must be an array")
            return False
        every = [_fits(inner, members[0], (*at, n), mistakes) for n, inner in enumerate(value, start=1)]
        return all(every)
    return _fits_leaf(value, shape, at, mistakes)


def _fits_struct(value: object, shape: type[msgspec.Struct], at: Path, mistakes: Mistakes) -> bool:
    if not isinstance(value, dict):
        mistakes.add(at, f"is {shown(value)}, but must be a table")
        return False
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    fits = True
    for key, inner in value.items():
        if key not in fields:
            mistakes.add_unknown((*at, key), "unknown key", key, fields)
        elif not _fits(inner, fields[key].type, (*at, key), mistakes):
            fits = False
    for key, field in fields.items():
        if field.required and key not in value:
            mistakes.add((*at, key), "is missing")
            fits = False
    return fits


def _fits_leaf(value: object, shape: Any, at: Path, mistakes: Mistakes) -> bool:
    if shape is datetime.date and type(value) is not datetime.date:  # a text or a time of day would be converted
        mistakes.add(at, f"is {shown(value)}; write the day without quotes, such as 2026-04-01")
        return False
    try:
        msgspec.convert(value, shape, strict=True)
    except msgspec.ValidationError as exc:
        mistakes.add(at, f"is {shown(value)}: {exc}")
        return False
    return True
