"""The SQL door's core of one session, and messages for it."""

import struct

from cells.breakglass.door import frames
from cells.breakglass.door.answering import Answering
from cells.breakglass.door.answers import Answers, Budget
from cells.breakglass.door.asking import Asking, Intend, Limits, Send
from cells.breakglass.door.ports import Outcome
from cells.breakglass.door.state import State

READY = frames.message(b"Z", b"I")
EXECUTE = frames.message(b"E", b"\0" * 5)
ROW = frames.message(b"D", b"\0\1\0\0\0\1x")
DESCRIBED = frames.message(b"T", b"\0\1" + b"name\0" + struct.pack("!ihihih", 7, 2, 25, -1, -1, 0))
DONE = frames.message(b"C", b"SELECT 3\0")


def parse(text: str, name: str = "") -> bytes:
    return frames.message(b"P", frames.text(name, text) + b"\0\0")


def bind(statement: str = "", portal: str = "", *parameters: bytes) -> bytes:
    given = b"".join(struct.pack("!i", len(one)) + one for one in parameters)
    return frames.message(
        b"B", frames.text(portal, statement) + b"\0\0" + struct.pack("!H", len(parameters)) + given + b"\0\0"
    )


class Talk:
    """A session's core without a connection."""

    def __init__(self, rows: int = 100, size: int = 10**9) -> None:
        self.state = State()
        self.asking = Asking(
            "s", self.state, Limits(statements_max=2, texts_max=100, portals_max=2, pending_max=8), "nobody"
        )
        self.answers = Answers(Answering(self.state), Budget(rows, size))

    def extended(self, text: str) -> None:
        """Parse, Bind and Execute, none of them answered."""
        assert isinstance(self.asking.take(parse(text)), Send)
        assert isinstance(self.asking.take(bind()), Intend)
        assert isinstance(self.asking.recorded(), Send)
        assert isinstance(self.asking.take(EXECUTE), Send)

    def named(self, name: str, text: str) -> None:
        """A statement that holds by its name."""
        assert isinstance(self.asking.take(parse(text, name)), Intend)
        assert isinstance(self.asking.recorded(), Send)
        self.heard(frames.message(b"1"))
        self.told()

    def run(self, text: str) -> None:
        assert isinstance(self.asking.take(frames.message(b"Q", frames.text(text))), Intend)
        assert isinstance(self.asking.recorded(), Send)

    def heard(self, *pieces: bytes) -> bytes:
        out: list[bytes] = []
        for piece in pieces:
            self.answers.feed(piece, out)
        return b"".join(out)

    def told(self) -> Outcome:
        (found,) = self.state.outcomes()
        return found
