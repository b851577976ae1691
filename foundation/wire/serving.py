"""What the connections of one server have in common."""

import asyncio

from uvicorn.server import ServerState

from foundation.wire.outbox import Outbox


class State(ServerState):
    """What uvicorn's protocols share, and whether the server has begun to leave: then each answer ends its connection, so that clients and
    proxies go elsewhere before the listener closes."""

    leaving = False
    _outbox: Outbox | None = None

    def outbox_of(self, loop: asyncio.AbstractEventLoop) -> Outbox:
        """That of all its connections, which are on one loop."""
        if self._outbox is None:
            self._outbox = Outbox(loop)
        return self._outbox


_ONCE: list[tuple[list[tuple[bytes, bytes]], bytes]] = [([], b"")]


def rendered_once(lines: list[tuple[bytes, bytes]]) -> bytes:
    """The lines of every answer (`Date` and the like). uvicorn makes them anew each second, so they are rendered once for each list."""
    made_of, rendered = _ONCE[0]
    if made_of is not lines:
        rendered = b"".join(b"%b: %b\r\n" % line for line in lines)
        _ONCE[0] = lines, rendered
    return rendered
