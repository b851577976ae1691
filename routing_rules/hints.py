"""What a message says of a value or a name that does not fit: the value, bounded, and the name that was meant. Pure."""

import difflib
from collections.abc import Iterable

SHOWN_CHARS_MAX = 60
_NAMES_COMPARED_MAX = 1000


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean X?`, or the names that there are, for the end of a message."""
    known = sorted(names)
    close = difflib.get_close_matches(name[:SHOWN_CHARS_MAX], known[:_NAMES_COMPARED_MAX], n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]}?"
    if not known:
        return "; none is declared"
    listed = ", ".join(known[:12])
    return f"; there are {listed}{' and others' if len(known) > 12 else ''}"


def shown(value: object) -> str:
    """A value of outside input, quoted and cut to a bounded length."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 1] + "…"
