"""Frames as they go by, cut wherever a network may cut them, held against another implementation of RFC 6455."""

import itertools

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from foundation.wire.websocket import Frames, accept_of, close_frame, is_key

MASK = b"\x01\x02\x03\x04"


def frames_of(side: ConnectionType, *events: BytesMessage | TextMessage | CloseConnection | Ping) -> list[bytes]:
    connection = Connection(side)
    return [connection.send(event) for event in events]


def test_the_answer_to_a_key_is_that_of_the_specification() -> None:
    assert accept_of(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("key", "good"),
    [
        (b"dGhlIHNhbXBsZSBub25jZQ==", True),
        (b"AAAAAAAAAAAAAAAAAAAAAA==", True),
        (b"", False),
        (b"dGhlIHNhbXBsZSBub25jZQ", False),
        (b"dGhlIHNhbXBsZSBub25jZR==", False),
        (b"dGhlIHNhbXBsZSBub25j", False),
        (b"dGhlIHNhbXBsZSBub25jZSE=", False),
        (b"dGhlIHNhbXBsZSBub25jZQ== ", False),
        (b"dGhlIHNhbXBs-SBub25jZQ==", False),
    ],
)
def test_a_key_is_sixteen_bytes_in_base64(key: bytes, good: bool) -> None:
    assert is_key(key) is good


@pytest.mark.parametrize("side", list(ConnectionType))
@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_a_frame_ends_with_its_last_byte_whatever_its_length(side: ConnectionType, length: int) -> None:
    [frame] = frames_of(side, BytesMessage(data=b"x" * length))
    frames = Frames()
    assert frames.step(frame + b"\x81", 0) == len(frame)
    assert frames.between
    for cut in {*range(min(len(frame), 20)), len(frame) - 1} - {0}:
        frames = Frames()
        frames.take(frame[:cut])
        assert not frames.between, cut
        frames.take(frame[cut:])
        assert frames.between, cut
    assert not frames.closed


def test_a_close_is_noticed_once_it_is_whole() -> None:
    [text, close] = frames_of(ConnectionType.CLIENT, TextMessage(data="a"), CloseConnection(code=1000, reason="bye"))
    frames = Frames()
    frames.take(text + close[:-1])
    assert (frames.closed, frames.between) == (False, False)
    frames.take(close[-1:])
    assert (frames.closed, frames.between) == (True, True)


def test_between_two_fragments_of_a_message_a_frame_has_ended() -> None:
    fragments = frames_of(
        ConnectionType.SERVER,
        TextMessage(data="one", message_finished=False),
        Ping(payload=b"p"),
        TextMessage(data="two", message_finished=True),
    )
    data = b"".join(fragments)
    frames, ends, here = Frames(), [], 0
    while here < len(data):
        here = frames.step(data, here)
        ends.append(here)
    assert ends == list(itertools.accumulate(len(fragment) for fragment in fragments))


@pytest.mark.parametrize(("sender", "mask"), [(ConnectionType.SERVER, b""), (ConnectionType.CLIENT, MASK)])
def test_a_close_frame_is_read_by_the_other_side(sender: ConnectionType, mask: bytes) -> None:
    reader = Connection(ConnectionType.CLIENT if sender is ConnectionType.SERVER else ConnectionType.SERVER)
    reader.receive_data(close_frame(1008, b"epoch changed", mask=mask))
    [event] = reader.events()
    assert event == CloseConnection(code=1008, reason="epoch changed")


def test_a_close_frame_is_a_control_frame() -> None:
    for reason, mask in ((b"x" * 124, b""), (b"", b"abc")):
        with pytest.raises(ValueError):
            close_frame(1000, reason, mask=mask)
