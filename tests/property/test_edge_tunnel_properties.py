"""What the two sides of a tunnel get, whatever they send, however it is cut, whenever and for whatever reason the gateway ends it."""

import asyncio
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection

from foundation.wire.websocket import close_frame
from gateway.edge.tunnel import CLOSES, Ending, Side, Tunnel
from gateway.settings import Websockets

OWN = sorted(CLOSES, key=lambda ending: ending.value)


class Wire(asyncio.Transport):
    """One connection in memory: what was written to it, and whether it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended = self.aborted = False
        self.reading = False
        self.protocol: asyncio.BaseProtocol | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended, "nothing follows the end"
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        assert not self.ended
        self.ended = True

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


class Between:
    """A tunnel between two wires."""

    def __init__(self, *, client_ahead: bytes = b"", service_ahead: bytes = b"") -> None:
        self.loop = asyncio.new_event_loop()
        self.client, self.service = Wire(), Wire()
        self.left = 0
        self.tunnel = Tunnel(self.loop, Websockets())
        self.tunnel.client.switched(self.client, client_ahead, self._leave)
        self.tunnel.open(self.service, service_ahead)
        assert self.client.reading
        assert self.service.reading

    def _leave(self) -> None:
        self.left += 1

    def close(self) -> None:
        self.tunnel.abort()
        self.loop.close()


@st.composite
def messages(draw: st.DrawFn, *, masked: bool) -> list[bytes]:
    """Frames of one direction, of which only the last may be a Close."""
    made = []
    for _ in range(draw(st.integers(0, 4))):
        length = draw(st.one_of(st.integers(0, 130), st.sampled_from([65_535, 65_536])))
        extended = b"" if length < 126 else length.to_bytes(2 if length < 1 << 16 else 8, "big")
        short = length if length < 126 else 126 if length < 1 << 16 else 127
        mask = b"\x88\x01\x02\x03" if masked else b""
        made.append(bytes((0x82, (0x80 if masked else 0) | short)) + extended + mask + b"\x88" * length)
    if draw(st.booleans()):
        made.append(close_frame(1000, b"bye", mask=b"abcd" if masked else b""))
    return made


PIECES_MAX = 30
CUTS = st.lists(st.integers(1, 40_000), min_size=1, max_size=8)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """At most PIECES_MAX, the last of which is all the rest."""
    ends = [0, *itertools.islice(itertools.accumulate(itertools.cycle(cuts)), PIECES_MAX - 1), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(ends) if data[start:end]]


def expected(frames: list[bytes], passed: int, close: bytes) -> bytes:
    """All frames that had begun by then, and a Close unless they end with one."""
    whole = b""
    for frame in frames:
        if len(whole) >= passed:
            break
        whole += frame
    ends = bool(frames) and frames[-1][0] == 0x88 and len(whole) == sum(len(frame) for frame in frames)
    return whole if ends else whole + close


@settings(deadline=None)
@given(messages(masked=False), messages(masked=True), CUTS, st.data())
def test_a_close_of_the_gateway_stands_between_two_frames_and_behind_everything(
    said: list[bytes], asked: list[bytes], cuts: list[int], data: st.DataObject
) -> None:
    between = Between()
    try:
        why = data.draw(st.sampled_from(OWN))
        turns = [(between.tunnel.service, piece) for piece in pieces_of(b"".join(said), cuts)]
        turns += [(between.tunnel.client, piece) for piece in pieces_of(b"".join(asked), cuts)]
        turns = data.draw(st.permutations(range(len(turns))).map(lambda order: in_order(turns, order)))
        at = data.draw(st.integers(0, len(turns)))
        passed = {between.tunnel.service: 0, between.tunnel.client: 0}
        for turn, (side, piece) in enumerate(turns):
            if turn == at:
                between.tunnel.end(why)
            if turn < at:
                passed[side] += len(piece)
            side.data_received(piece)
        between.tunnel.end(why)
        between.tunnel.end(Ending.DRAIN)
        code, reason = CLOSES[why]
        to_client = expected(said, passed[between.tunnel.service], close_frame(code, reason))
        assert between.client.written == to_client
        to_service = expected(asked, passed[between.tunnel.client], b"")
        assert between.service.written.startswith(to_service)
        added = between.service.written[len(to_service) :]
        if added:
            reader = Connection(ConnectionType.SERVER)
            reader.receive_data(added)
            assert list(reader.events()) == [CloseConnection(code=code, reason=reason.decode())]
        else:
            assert asked
            assert asked[-1][0] == 0x88
        assert between.client.ended
        assert between.service.ended
        assert between.client.reading, "what still comes is read and dropped"
    finally:
        between.close()


def in_order(turns: list[tuple[Side, bytes]], order: list[int]) -> list[tuple[Side, bytes]]:
    """The turns mixed, those of each side in their own order."""
    queues = {side: [piece for by, piece in turns if by is side] for side, _ in turns}
    return [(turns[at][0], queues[turns[at][0]].pop(0)) for at in order]


@given(messages(masked=False), messages(masked=True), CUTS, st.booleans())
def test_who_leaves_takes_the_other_along_with_all_that_was_said_and_no_close(
    said: list[bytes], asked: list[bytes], cuts: list[int], client_leaves: bool
) -> None:
    between = Between(client_ahead=b"".join(asked), service_ahead=b"".join(said))
    tunnel = between.tunnel
    try:
        leaves = tunnel.client if client_leaves else tunnel.service
        leaves.connection_lost(None)
        other = tunnel.other(leaves)
        other.data_received(b"too late")
        assert not tunnel.over.done()
        other.eof_received()
        other.connection_lost(None)
        assert tunnel.over.result() is leaves.leaves
        assert between.client.written == b"".join(said)
        assert between.service.written == b"".join(asked)
        assert between.left == 1
    finally:
        between.close()


@given(st.lists(st.tuples(st.sampled_from(["client", "service"]), st.booleans()), max_size=12))
def test_a_side_is_read_exactly_while_the_other_takes_more(turns: list[tuple[str, bool]]) -> None:
    between = Between()
    try:
        for name, full in turns:
            side = between.tunnel.client if name == "client" else between.tunnel.service
            (side.pause_writing if full else side.resume_writing)()
            other = between.service if name == "client" else between.client
            assert other.reading is not full
    finally:
        between.close()


def test_a_side_that_is_full_from_the_start_holds_the_other_back() -> None:
    """What arrived behind the handshake may already be more than the other side takes."""

    class Full(Wire):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            super().write(data)
            assert isinstance(self.protocol, Side)
            self.protocol.pause_writing()

    loop = asyncio.new_event_loop()
    try:
        client, service = Wire(), Full()
        tunnel = Tunnel(loop, Websockets())
        tunnel.client.switched(client, b"\x81\x81abcd\0", lambda: None)
        tunnel.open(service, b"")
        assert service.written
        assert not client.reading
        tunnel.abort()
        assert client.aborted
        assert service.aborted
    finally:
        loop.close()


def test_a_process_that_leaves_while_it_is_opened_closes_it_at_once() -> None:
    loop = asyncio.new_event_loop()
    try:
        client, service = Wire(), Wire()
        tunnel = Tunnel(loop, Websockets())
        tunnel.client.switched(client, b"", lambda: None)
        tunnel.client.shutdown()
        assert not client.written
        tunnel.open(service, b"\x81\x01a")
        assert client.written == b"\x81\x01a" + close_frame(*CLOSES[Ending.DRAIN])
        tunnel.abort()
    finally:
        loop.close()
