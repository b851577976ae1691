"""A connection as the request that it carries sees it, and the request's answer as the connection sees that."""

from typing import Protocol


class Line(Protocol):
    """The connection, as its request sees it."""

    def write(self, data: bytes) -> None: ...

    def write_both(self, head: bytes, body: bytes) -> None:
        """In one go, without a copy of either."""
        ...

    def dated(self) -> bytes:
        """Lines that every answer has."""
        ...

    async def drained(self) -> None:
        """Until more may be written, or nobody is there."""
        ...

    def awaits(self, waiting: bool) -> None:
        """Whether the application waits for more of the body: silence of the client is bounded then."""
        ...

    def taken(self) -> None:
        """What had arrived of the body was received; there is room again."""
        ...

    def answered(self, *, keep: bool) -> None:
        """The answer is whole. `keep`: another request may follow."""
        ...

    def give_up(self) -> None:
        """The answer cannot be ended properly: the client must not take it for a whole one."""
        ...


class Answering(Protocol):
    """What answers a connection's request, as the connection sees it."""

    ended: bool
    """The whole body has arrived."""
    done: bool
    """The answer is whole."""

    @property
    def started(self) -> bool:
        """Something of the answer has been sent."""
        ...

    @property
    def buffered(self) -> int:
        """Bytes of the body that wait to be received."""
        ...

    @property
    def until_closed(self) -> bool:
        """Whether the end of the connection would be taken for the end of the answer."""
        ...

    def data(self, piece: bytes) -> None: ...

    def end(self) -> None: ...

    def leave(self) -> None:
        """The client is gone."""
        ...

    def close_after(self) -> None:
        """No other request follows on this connection."""
        ...


class AnswerBroken(Exception):
    """The application has told already why its answer has no end; its connection is closed, so that no end is taken for one."""
