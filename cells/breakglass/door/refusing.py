"""Which texts are refused whatever they say besides, and in which words. Pure.

What Postgres cannot be told to refuse a role stands here; everything else is the wall's.
"""

from cells.breakglass.door import naming
from cells.breakglass.door.frames import Error

COPY_REFUSED = Error("0A000", "COPY is refused here", "read rows with SELECT")
NOTIFY_REFUSED = Error("0A000", "NOTIFY is refused here", "products act on what they are told")
HOLD_REFUSED = Error("0A000", "cursors WITH HOLD are refused here", "declare it inside a transaction")
CALL_REFUSED = Error("0A000", "function calls and large objects by message are refused here")
FOLLOWS = Error(
    "0A000",
    "EXECUTE, FETCH, MOVE and CALL have no name, and run right behind their Bind here",
    "send them as simple queries",
)
MISREAD = Error(
    "0A000",
    "more than ASCII is refused behind a command that may set client_encoding",
    "send a Sync before it",
)


def refusal(text: str) -> Error | None:
    """Why a text is not run; None where it may be."""
    if naming.first_word(text) == "COPY":
        return COPY_REFUSED
    if naming.notifies(text):
        return NOTIFY_REFUSED
    return HOLD_REFUSED if naming.holds(text) else None


def too_many(what: str, most: int) -> Error:
    return Error("54000", f"a session has at most {most} {what} here")
