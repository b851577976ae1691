"""Media types of requests and answers. Pure. https://docs.postgrest.org/en/v13/references/api/resource_representation.html"""

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from cells.records import errors

JSON = "application/json"
OBJECT = "application/vnd.pgrst.object+json"
ARRAY = "application/vnd.pgrst.array+json"
_ANY = frozenset({"*/*", "application/*"})
_OBJECTS = frozenset({OBJECT, "application/vnd.pgrst.object"})
_ARRAYS = frozenset({ARRAY, "application/vnd.pgrst.array"})
KNOWN_MAX = 256
"""Accept headers whose meaning is remembered: clients send few, and the same each time."""
_WEIGHT = re.compile(r"q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.ASCII)


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """How rows come back: `single` as one object and an error for any other number, `stripped` without members that are null."""

    single: bool = False
    stripped: bool = False

    @property
    def content_type(self) -> str:
        name = OBJECT if self.single else ARRAY if self.stripped else JSON
        return f"{name}{';nulls=stripped' if self.stripped else ''}; charset=utf-8"


@lru_cache(maxsize=KNOWN_MAX)
def accepted(header: str) -> Media:
    """The type of an Accept header with the highest weight that can be answered, the first of equals. Raises ProblemError."""
    best, heaviest = None, 0.0
    for item in header.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = _weight(parameters)
        found = _offered(name, stripped=any(one.replace(" ", "") == "nulls=stripped" for one in parameters))
        if found is not None and weight > heaviest:
            best, heaviest = found, weight
    if best is None:
        raise errors.dialect(errors.MEDIA, "only JSON is answered here", hint=f"Accept: {JSON}, {OBJECT} or {ARRAY}")
    return best


def _offered(name: str, *, stripped: bool) -> Media | None:
    if name in _ANY or name in ("", JSON):
        return Media()
    if name in _OBJECTS:
        return Media(single=True, stripped=stripped)
    return Media(stripped=stripped) if name in _ARRAYS else None


def _weight(parameters: Sequence[str]) -> float:
    """`q` (RFC 9110 section 12.4.2); 1 where none is stated or it is not one."""
    for parameter in parameters:
        found = _WEIGHT.fullmatch(parameter)
        if found is not None:
            return float(found.group(1))
    return 1.0


def check_sent(header: str) -> None:
    """A body is JSON. Raises ProblemError."""
    if header.partition(";")[0].strip().lower() != JSON:
        raise errors.dialect(errors.BODY, f"Content-Type is {JSON} here")
