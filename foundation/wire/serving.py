"""What the connections of one server have in common."""

import asyncio
import resource
import sys

from uvicorn.server import ServerState

from foundation import logs
from foundation.wire.outbox import Outbox

log = logs.get(__name__)

FILES_MAX = 1 << 16
"""How many files a process asks to have open, where the system lets it."""
CLIENTS_SHARE = 0.75
"""Of them, at most, are clients' connections: whoever fills a process with idle ones would else take from everybody what goes to services
and to the directory."""


class State(ServerState):
    """What uvicorn's protocols share, and whether the server has begun to leave: then each answer ends its connection, so that clients and
    proxies go elsewhere before the listener closes."""

    leaving = False
    connections_max = sys.maxsize
    """Open at once; whoever comes then is told so, and gone."""
    _outbox: Outbox | None = None
    _full = False
    """Whether one was refused since half of them were left: what the log is told of once."""

    def refuses(self) -> bool:
        """Whether the connection that was added last is one too many."""
        count, most = len(self.connections), self.connections_max
        if count > most:
            if not self._full:
                self._full = True
                log.warning("connections_full", limit=most)
            return True
        if self._full and count <= most // 2:
            self._full = False
            log.info("connections_free", count=count)
        return False

    def outbox_of(self, loop: asyncio.AbstractEventLoop) -> Outbox:
        """That of all its connections, which are on one loop."""
        if self._outbox is None:
            self._outbox = Outbox(loop)
        return self._outbox


def clients_max() -> int:
    """How many connections of clients this process takes at once; it may have as many files open as the system lets it, from now on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    else:
        most = FILES_MAX if soft == resource.RLIM_INFINITY else soft
    return int(most * CLIENTS_SHARE)


_ONCE: list[tuple[list[tuple[bytes, bytes]], bytes]] = [([], b"")]


def rendered_once(lines: list[tuple[bytes, bytes]]) -> bytes:
    """The lines of every answer (`Date` and the like). uvicorn makes them anew each second, so they are rendered once for each list."""
    made_of, rendered = _ONCE[0]
    if made_of is not lines:
        rendered = b"".join(b"%b: %b\r\n" % line for line in lines)
        _ONCE[0] = lines, rendered
    return rendered
