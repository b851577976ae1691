"""Mistakes in a policy text: where each stands, what it is, and what would be right."""

import difflib
import re
from collections.abc import Iterable

_TABLE = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*([A-Za-z0-9_."'-]+)\s*=""")
_SHOWN_CHARS_MAX = 60

Path = tuple[str, ...]


class Mistakes:
    """Collects mistakes by key path; `lines()` gives them in the order of the text, each with its line."""

    def __init__(self, text: str) -> None:
        self._lines = _key_lines(text)
        self._found: list[tuple[int, str]] = []

    def add(self, path: Path, what: str) -> None:
        line = _line_of(path, self._lines)
        self._found.append((line, f"line {line}: {'.'.join(path)}: {what}" if line else f"{'.'.join(path)}: {what}"))

    def lines(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(text for _, text in sorted(self._found, key=lambda one: one[0])))


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean X?`, or the names that there are, for the end of a message."""
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]}?"
    if not known:
        return "; none is declared"
    listed = ", ".join(known[:12])
    return f"; there are {listed}{' and others' if len(known) > 12 else ''}"


def shown(value: object) -> str:
    """A value of outside input, quoted and cut to a bounded length."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS_MAX else text[: _SHOWN_CHARS_MAX - 1] + "…"


def _key_lines(text: str) -> dict[Path, int]:
    """Line numbers of tables and keys, as far as a look at each line alone tells. A hint for people, nothing rests on it."""
    lines: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            table = _split(header.group(1))
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_split(key.group(1))), number)
    return lines


def _split(dotted: str) -> Path:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _line_of(path: Path, lines: dict[Path, int]) -> int:
    for length in range(len(path), 0, -1):
        if line := lines.get(path[:length]):
            return line
    return 0
