"""Mistakes in a policy text: where each stands, what it is, and what would be right."""

import re
from collections.abc import Collection

from routing_rules.hints import SHOWN_CHARS_MAX, nearest
from routing_rules.policy.key_lines import Path, key_lines

MISTAKES_MAX = 200
"""So many are kept; whoever has more corrects these first. A bound on what a hostile text makes us compare."""
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


class Mistakes:
    """Collects mistakes by key path; `lines()` gives them in the order of the text, each with its line."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found: list[tuple[Path, str]] = []
        self._dropped = 0

    @property
    def full(self) -> bool:
        """Whether what is added now is counted only; a check that has a lot to compare may end."""
        return len(self._found) >= MISTAKES_MAX

    def add(self, path: Path, what: str) -> None:
        if self.full:
            self._dropped += 1
        else:
            self._found.append((path, what))

    def add_unknown(self, path: Path, what: str, name: str, names: Collection[str]) -> None:
        """A name that is none of `names`: `what` (such as `no cell 'x'`), with the nearest of them at the end."""
        self.add(path, what if self.full else f"{what}{nearest(name, names)}")

    def lines(self) -> tuple[str, ...]:
        """Every mistake once, as `line 3: cells.eu-de.region: what`; the last one says how many more there are."""
        if not self._found:
            return ()
        lines = key_lines(self._text)
        placed = sorted(((_line_of(path, lines), path, what) for path, what in self._found), key=lambda one: one[0])
        told = [f"{f'line {line}: ' if line else ''}{_dotted(path)}: {what}" for line, path, what in placed]
        more = [f"and {self._dropped} or more further mistakes"] if self._dropped else []
        return (*dict.fromkeys(told), *more)


def _dotted(path: Path) -> str:
    """The path as TOML writes it; elements of arrays are counted from 1: `instruments[2].gateway`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = part if _BARE.match(part) else f'"{repr(part)[1:-1]}"'
            plain = plain if len(plain) <= SHOWN_CHARS_MAX else plain[: SHOWN_CHARS_MAX - 1] + "…"
            text += f".{plain}" if text else plain
    return text


def _line_of(path: Path, lines: dict[Path, int]) -> int:
    for length in range(len(path), 0, -1):
        if line := lines.get(path[:length]):
            return line
    return 0
