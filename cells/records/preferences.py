"""The `Prefer` header (RFC 7240) as PostgREST reads it. Pure. https://docs.postgrest.org/en/v13/references/api/preferences.html"""

import enum

import msgspec

from cells.records import errors
from cells.records.dialect import NUMBER_DIGITS_MAX


class Returned(enum.StrEnum):
    """What a write answers with."""

    MINIMAL = "minimal"
    HEADERS_ONLY = "headers-only"
    REPRESENTATION = "representation"


class Resolution(enum.StrEnum):
    """What an insert does where a row with the same key is there: `merge` changes it, `ignore` leaves it."""

    MERGE = "merge-duplicates"
    IGNORE = "ignore-duplicates"


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """What was understood. `counted`: the total is asked for, `defaults`: keys that a body leaves out take the column's default."""

    returned: Returned = Returned.MINIMAL
    counted: bool = False
    resolution: Resolution | None = None
    defaults: bool = False
    affected_max: int | None = None
    handling: str | None = None
    stated: frozenset[str] = frozenset()

    def applied(self, method: str) -> str:
        """The value of Preference-Applied; empty when none was stated that this method heeds."""
        words = []
        write = method not in ("GET", "HEAD")
        if method == "POST" and "resolution" in self.stated and self.resolution is not None:
            words.append(f"resolution={self.resolution}")
        if method in ("POST", "PATCH", "PUT") and self.defaults:
            words.append("missing=default")
        if write and "return" in self.stated:
            words.append(f"return={self.returned}")
        if self.counted and method != "PUT":
            words.append("count=exact")
        if self.handling is not None:
            words.append(f"handling={self.handling}")
        if write and self.affected_max is not None:
            words.append(f"max-affected={self.affected_max}")
        return ", ".join(words)


NONE = Preferences()


def parse_preferences(headers: list[str]) -> Preferences:
    """Raises ProblemError for what is not understood under handling=strict, and for a write that would not be kept.

    No `tx` is understood: there is no choice of how a request ends, and `commit` is how each does.

    Every count is exact. The planner's estimates rest on statistics over all subjects' rows, so they would tell of others.
    """
    if not headers:
        return NONE
    found, unknown = Preferences(), []
    stated: set[str] = set()
    for item in (part.strip() for header in headers for part in header.split(",")):
        name, _, value = (word.strip() for word in item.partition("="))
        taken = _taken(found, name, value)
        if name == "tx" and value == "rollback":
            raise errors.dialect(errors.PREFERENCE, "tx=rollback is not supported here: what is written stays written")
        if taken is None:
            unknown += [item] if item else []
        elif name not in stated:
            # RFC 7240 section 2: of several, the first counts.
            stated.add(name)
            found = taken
    if unknown and found.handling == "strict":
        message = "Invalid preferences given with handling=strict"
        details = f"{len(unknown)} of them are not supported here"
        raise errors.dialect(errors.PREFERENCE, message, details=details)
    return msgspec.structs.replace(found, stated=frozenset(stated))


def _taken(found: Preferences, name: str, value: str) -> Preferences | None:
    """The preferences with this one among them, or None where it is not understood."""
    replace = msgspec.structs.replace
    match name, value:
        case "return", _ if value in set(Returned):
            return replace(found, returned=Returned(value))
        case "count", "exact" | "planned" | "estimated":
            return replace(found, counted=True)
        case "resolution", _ if value in set(Resolution):
            return replace(found, resolution=Resolution(value))
        case "missing", "default" | "null":
            return replace(found, defaults=value == "default")
        case "handling", "strict" | "lenient":
            return replace(found, handling=value)
        case "max-affected", _ if value.isascii() and value.isdigit() and len(value) < NUMBER_DIGITS_MAX:
            return replace(found, affected_max=int(value))
        case _:
            return None
