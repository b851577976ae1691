"""A position in a text of the dialect, and the small grammars that several parameters share: names, paths, quoted values. Pure."""

import re

from cells.records import errors
from cells.records.query import Path, Step
from foundation.problems import ProblemError

STEPS_MAX = 16
INDEX_MAX = 2**31 - 1
PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_NAME = re.compile(r'"([A-Za-z][A-Za-z0-9_]{0,62})"|([A-Za-z][A-Za-z0-9_]{0,62})')
_STEP = re.compile(r'->(>?)(?:"([^"]{1,200})"|(-?[0-9]{1,10})(?![A-Za-z0-9_$ ])|([A-Za-z0-9_$][A-Za-z0-9_$ ]{0,199}))')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BACKSLASHED = re.compile(r"\\(.)", re.DOTALL)
_UNSUPPORTED = (
    ("...", "embedding"),
    ("(", "embedding and aggregates"),
    ("!", "embedding"),
    ("->", "such a path"),
    ("::", "a cast"),
    (".", "filters and orders of related tables"),
)
"""What is found in a place where a name has ended → what was probably meant."""


class Scanner:
    """Reads one text from left to right. `what` names the parameter in refusals."""

    def __init__(self, text: str, what: str) -> None:
        self.text = text
        self.what = what
        self.at = 0

    @property
    def rest(self) -> str:
        return self.text[self.at :]

    @property
    def ended(self) -> bool:
        return self.at == len(self.text)

    def take(self, sign: str) -> bool:
        """Goes past `sign` if it stands here."""
        if not self.text.startswith(sign, self.at):
            return False
        self.at += len(sign)
        return True

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Goes past what the pattern matches here."""
        found = pattern.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
        return found

    def spaces(self) -> None:
        while not self.ended and self.text[self.at] == " ":
            self.at += 1

    def refused(self, expected: str) -> ProblemError:
        """The text is not of the dialect's form; says what was expected, or which feature is not offered here."""
        rest = self.rest
        for sign, feature in _UNSUPPORTED:
            if rest.startswith(sign):
                meant = "an aggregate" if sign == "." and self.what == "select" else feature
                return errors.dialect(errors.QUERY, f"{self.what}: {meant} is not supported here")
        return errors.dialect(errors.QUERY, f"{self.what}: {expected} at character {self.at + 1}")

    def name(self) -> str:
        """A column's name or an alias, bare or in double quotes. Raises ProblemError."""
        found = self.match(_NAME)
        if found is None:
            raise self.refused("a column's name is expected")
        return found.group(1) or found.group(2)

    def path(self) -> Path:
        """`column`, `column->member->0->>member`. Raises ProblemError."""
        return self.steps(self.name())

    def steps(self, column: str) -> Path:
        """The arrows after a column. Raises ProblemError."""
        steps: list[Step] = []
        while self.text.startswith("->", self.at):
            if steps and steps[-1].as_text:
                raise errors.dialect(errors.QUERY, f"{self.what}: ->> gives text and ends a path")
            found = self.match(_STEP)
            if found is None or len(steps) == STEPS_MAX:
                raise errors.dialect(errors.QUERY, f"{self.what}: after -> a member or a number, {STEPS_MAX} at most")
            arrow, quoted, index, member = found.groups()
            key = _index(index, self.what) if index else (quoted or member)
            steps.append(Step(key, as_text=arrow == ">"))
        return Path(column, tuple(steps))

    def quoted(self) -> str | None:
        """A value in double quotes, in which a backslash quotes the next character; None where none stands here."""
        found = self.match(_QUOTED)
        return None if found is None else _BACKSLASHED.sub(r"\1", found.group(1))


def _index(digits: str, what: str) -> int:
    if abs(int(digits)) > INDEX_MAX:
        raise errors.dialect(errors.QUERY, f"{what}: {digits} is no element's number")
    return int(digits)
