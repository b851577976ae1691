"""What texts and tags do to names of prepared statements and portals. Pure.

Names are given and taken by messages, which `state` follows, and by some commands of SQL. A text whose first word is one of KEEPS is
none of these, provided that it can reach no code of the session's own making: the wall sees to that.
"""

import re
from functools import lru_cache

from cells.breakglass.door.frames import NAME_BYTES_MAX

KEEPS = frozenset(
    {
        *(
            "SELECT",
            "WITH",
            "VALUES",
            "TABLE",
            "INSERT",
            "UPDATE",
            "DELETE",
            "MERGE",
            "FETCH",
            "MOVE",
            "EXPLAIN",
            "SHOW",
        ),
        *("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "SET", "RESET", "LOCK"),
    }
)
_BLANK = re.compile(r"(?:[\s;(]++|--[^\r\n]*+)*", re.ASCII)
_WORD = re.compile(r"[A-Za-z_]+")
_COMMENT = re.compile(r"/\*|\*/")
_DEALLOCATE = re.compile(
    r"\s*+DEALLOCATE\s++(?:PREPARE\s++)?(?:\"((?:[^\"]|\"\"){1,63})\"|([a-z_][a-z0-9_$]{0,62}+))\s*+;?\s*+\Z",
    re.IGNORECASE | re.ASCII,
)
_DEALLOCATE_CHARS_MAX = 1_024
"""Of a text that is read for one name, at each of its commands that ends. A longer one may have taken any."""
_DROPPING = re.compile(r"deallocate|discard|execute|\bdo\b|\bcall\b", re.IGNORECASE)
_DROPS_STATEMENTS = ("DEALLOCATE", "DISCARD ALL", "DO", "CALL")
_DROPS_PORTALS = ("CLOSE CURSOR", "DECLARE CURSOR", "DISCARD ALL", "DO", "CALL")
CHANGING = (*_DROPS_STATEMENTS, *_DROPS_PORTALS)
"""How tags begin of commands that may change what names mean."""
_FOLLOWS = frozenset({"EXECUTE", "FETCH", "MOVE", "CALL"})
_KEEPS_ENCODING = frozenset(
    {
        *("SELECT", "WITH", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE", "MERGE", "SHOW"),
        *("BEGIN", "START", "SAVEPOINT", "RELEASE", "LOCK"),
    }
)
_SETS = re.compile(r"set_config|pg_settings|u&\"", re.IGNORECASE)
"""How a query sets what SET does: by this function, by that view, or by either in escapes. A name has no other spelling."""
_NOTIFY = re.compile(r"\bnotify\b", re.IGNORECASE | re.ASCII)
_WITH = re.compile(r"\bwith\b", re.IGNORECASE | re.ASCII)
_WITH_HOLD = re.compile(r"\bwith\s++hold\b", re.IGNORECASE | re.ASCII)
_AFTER_COMMENT = re.compile(r"(?:\*/\s*+|[\r\n][ \t\f\v]*+)hold\b", re.IGNORECASE | re.ASCII)
"""HOLD where the last thing before it may be a comment: one in brackets, or one that its line ends."""
_DECLARE = re.compile(r"\bdeclare\b", re.IGNORECASE | re.ASCII)


@lru_cache(maxsize=1)
def first_word(text: str) -> str:
    """The first word of the first command, in capitals, after blanks, comments and brackets; "" where there is none. Of one text it is
    asked for several times in a row."""
    at = 0
    while True:
        found = _BLANK.match(text, at)
        at = at if found is None else found.end()
        if not text.startswith("/*", at):
            break
        at = _after_comment(text, at)
    word = _WORD.match(text, at)
    return "" if word is None else word[0].upper()


def _after_comment(text: str, at: int) -> int:
    """Comments nest."""
    depth = 0
    for mark in _COMMENT.finditer(text, at):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(text)


def keeps_names(text: str) -> bool:
    """Whether a single command leaves alone what names mean."""
    return first_word(text) in KEEPS


def dropped_statements(tag: str, text: str) -> str | None:
    """After a command ended with `tag`: "" where every name may mean something else from now on, one name, or None."""
    if not tag.startswith(_DROPS_STATEMENTS):
        return None
    found = _DEALLOCATE.match(text) if tag == "DEALLOCATE" and len(text) <= _DEALLOCATE_CHARS_MAX else None
    if found is None:
        return ""
    quoted, plain = found.groups()
    name = str(quoted).replace('""', '"') if quoted else str(plain).lower()
    return name if len(name.encode()) <= NAME_BYTES_MAX else ""


def may_drop_statements(text: str) -> bool:
    """Whether some command of a text may have taken prepared statements away."""
    return _DROPPING.search(text) is not None


def drops_portals(tag: str) -> bool:
    return tag.startswith(_DROPS_PORTALS)


def follows(text: str) -> bool:
    """Whether what a text runs, and shows, is what a name in it means as it runs, and not when it was bound or prepared. Postgres reads the
    rows of the one by the columns of the other: whatever stands in its memory behind them."""
    return first_word(text) in _FOLLOWS


def may_recode(text: str) -> bool:
    """Whether a single command may have changed `client_encoding`, by which Postgres reads what comes next. Ends of transactions and of
    savepoints may, since settings go back with them."""
    return first_word(text) not in _KEEPS_ENCODING or _SETS.search(text) is not None


def notifies(text: str) -> bool:
    """Whether some command of a text may be NOTIFY: the word as the first, or in several commands. No keyword has another spelling."""
    if _NOTIFY.search(text) is None:
        return False
    return first_word(text) == "NOTIFY" or ";" in text.rstrip("; \t\r\n")


def holds(text: str) -> bool:
    """Whether some command of a text may declare a cursor WITH HOLD: both words with nothing between but blanks and comments."""
    if _DECLARE.search(text) is None:
        return False
    if _WITH_HOLD.search(text) is not None:
        return True
    commented = "--" in text or "/*" in text
    return commented and _WITH.search(text) is not None and _AFTER_COMMENT.search(text) is not None
