"""Where each key of a TOML text stands: key path -> line. Pure; for people who read a mistake, nothing else rests on it.

`tomllib` tells no positions, so this reads the text a second time, for places only. It relies on `tomllib` having accepted the text
(TOML 1.0, https://toml.io/en/v1.0.0): what is not valid is not recognised as such, and ends the reading with what was found so far.
"""

import contextlib
import re
import tomllib
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Keys from the outermost in; a whole number is the n-th element of an array, counted from 1."""
DEPTH_MAX = 64
"""Longest path that is followed: far beyond what a policy has, and a bound on the work that a hostile text makes."""

_BLANK = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_BLANK_OR_COMMA = re.compile(r"(?:[ \t\r\n,]++|#[^\n]*+)*+")
_STRINGS = (
    r'"""(?:[^"\\]++|\\[\s\S]|"(?!""))*+"{3,5}',
    r"'''(?:[^']++|'(?!''))*+'{3,5}",
    r'"(?:[^"\\\n]++|\\[^\n])*+"',
    r"'[^'\n]*+'",
)
_SCALAR = re.compile("|".join((*_STRINGS, r"[^,\]}#\n]++")))
_KEY_PART = re.compile("|".join((*_STRINGS[2:], r"[A-Za-z0-9_-]++")))
_DOT = re.compile(r"[ \t]*+\.[ \t]*+")
_EQUALS = re.compile(r"[ \t]*+=[ \t]*+")


def key_lines(text: str) -> dict[Path, int]:
    """The line (from 1) of every table, key and array element of a text that `tomllib.loads` accepts. Never raises.

    A table that only its longer names mention (`[a.b]` mentions `a`) stands where it is first mentioned.
    Reading ends at a path longer than DEPTH_MAX.
    """
    reader = _Reader(text)
    with contextlib.suppress(_Lost, tomllib.TOMLDecodeError):  # no TOML, or deeper than anything that a policy says
        reader.read()
    return reader.mentioned | reader.stated


class _Lost(Exception):
    """The text goes on in no form that TOML knows, or too deep."""


class _Reader:
    """One pass over the text. `elements` counts the `[[name]]` headers so far, so that later names lead into the last of them."""

    def __init__(self, text: str) -> None:
        self.mentioned: dict[Path, int] = {}
        self.stated: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0  # offset up to which lines are counted
        self._elements: dict[Path, int] = {}

    def read(self) -> None:
        table: Path = ()
        while self._next(_BLANK):
            if self._text.startswith("[[", self._at):
                table = self._element_header()
            elif self._text.startswith("[", self._at):
                table = self._table_header()
            else:
                self._value(self._pair(table))

    def _next(self, blank: re.Pattern[str]) -> str:
        """Skips to the next character that means something: it, or `` at the end."""
        self._skip(blank)
        return self._text[self._at : self._at + 1]

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise _Lost
        self._at = match.end()
        return match.group()

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _table_header(self) -> Path:
        line = self._here()
        path = self._inside((), self._key("[", "]"), line)
        self.stated.setdefault(path, line)
        return path

    def _element_header(self) -> Path:
        line = self._here()
        *outer, last = self._key("[[", "]]")
        array = (*self._inside((), outer, line), last)
        self.stated.setdefault(array, line)
        self._elements[array] = count = self._elements.get(array, 0) + 1
        self.stated[*array, count] = line
        return (*array, count)

    def _pair(self, table: Path) -> Path:
        """Reads `key =` and notes the key."""
        line = self._here()
        *outer, last = self._key("", "")
        self._skip(_EQUALS)
        path = (*self._inside(table, outer, line), last)
        self.stated.setdefault(path, line)
        return path

    def _inside(self, table: Path, parts: list[str], line: int) -> Path:
        """The path that `parts` lead to from `table`, through the last element of each array of tables."""
        path = table
        for part in parts:
            path = (*path, part)
            self.mentioned.setdefault(path, line)
            if path in self._elements:
                path = (*path, self._elements[path])
        return path

    def _key(self, before: str, after: str) -> list[str]:
        """The parts of a dotted key between brackets (or none)."""
        self._at += len(before)
        self._skip(_BLANK)
        parts = [_plain(self._skip(_KEY_PART))]
        while _DOT.match(self._text, self._at):
            self._skip(_DOT)
            parts.append(_plain(self._skip(_KEY_PART)))
            if len(parts) > DEPTH_MAX:
                raise _Lost
        if after:
            self._skip(_BLANK)
            self._at += len(after)
        return parts

    def _value(self, path: Path) -> None:
        """Reads one value and notes what is inside it; without recursion, so that no depth of brackets ends it."""
        open_: list[_Open] = []
        while True:
            bracket = self._text[self._at : self._at + 1]
            if len(path) > DEPTH_MAX:
                raise _Lost
            if bracket in ("[", "{"):
                self._at += 1
                open_.append(_Open(path, is_array=bracket == "["))
            else:
                self._skip(_SCALAR)
            while open_ and self._next(_BLANK_OR_COMMA) in ("]", "}"):
                self._at += 1
                open_.pop()
            if not open_:
                return
            path = self._element(open_[-1]) if open_[-1].is_array else self._pair(open_[-1].path)

    def _element(self, array: "_Open") -> Path:
        array.elements += 1
        path = (*array.path, array.elements)
        self.stated[path] = self._here()
        return path


class _Open:
    """An array or inline table whose end is not reached yet, with the elements so far."""

    def __init__(self, path: Path, *, is_array: bool) -> None:
        self.path = path
        self.is_array = is_array
        self.elements = 0


def _plain(part: str) -> str:
    """A key part without its quotes; `tomllib` resolves the escapes."""
    if part.startswith("'"):
        return part[1:-1]
    if part.startswith('"'):
        return str(tomllib.loads(f"key = {part}")["key"]) if "\\" in part else part[1:-1]
    return part
