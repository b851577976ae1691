"""Where frames end, however many there are, whatever they carry and wherever they are cut."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.wire.websocket import Frames

LENGTHS = st.one_of(st.integers(0, 130), st.sampled_from([125, 126, 127, 65_535, 65_536, 65_537]))


@st.composite
def frame(draw: st.DrawFn) -> bytes:
    """A frame of any opcode but Close, with any reserved bits, masked or not; its length is not always in the shortest form."""
    opcode = draw(st.sampled_from([0, 1, 2, 9, 10]))
    length = draw(LENGTHS)
    form = draw(st.sampled_from([7, 16, 64]))
    form = form if length < 126 or form > 7 else 16
    form = form if length < 1 << 16 or form > 16 else 64
    masked = draw(st.booleans())
    first = draw(st.sampled_from([0x80, 0])) | draw(st.sampled_from([0, 0x40])) | opcode
    short = length if form == 7 else 126 if form == 16 else 127
    extended = b"" if form == 7 else length.to_bytes(form // 8, "big")
    head = bytes((first, (0x80 if masked else 0) | short)) + extended + (b"\x88\xff\x7f\x80" if masked else b"")
    return head + b"\x88" * length


CUTS = st.lists(st.integers(1, 40_000), min_size=1, max_size=20)
PIECES_MAX = 200


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """At most PIECES_MAX, the last of which is all the rest."""
    ends = [0, *itertools.islice(itertools.accumulate(itertools.cycle(cuts)), PIECES_MAX - 1), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(ends) if data[start:end]]


@settings(deadline=None)
@given(st.lists(frame(), max_size=6), CUTS)
def test_every_frames_end_is_found_and_no_other_place_is_taken_for_one(frames: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frames)
    ends = set(itertools.accumulate((len(one) for one in frames), initial=0))
    tracker, here = Frames(), 0
    for piece in pieces_of(data, cuts):
        at = 0
        while at < len(piece):
            reached = tracker.step(piece, at)
            crossed = {here + at, here + reached} | {end for end in ends if here + at < end < here + reached}
            assert crossed & ends <= {here + at, here + reached}, "a step stops at the first end"
            at = reached
            assert tracker.between is (here + at in ends)
        here += len(piece)
    assert tracker.between
    assert not tracker.closed


@settings(deadline=None)
@given(st.lists(frame(), max_size=3), st.integers(0, 125), CUTS)
def test_a_close_is_seen_behind_anything(frames: list[bytes], length: int, cuts: list[int]) -> None:
    data = b"".join(frames) + bytes((0x88, length)) + b"x" * length
    tracker = Frames()
    for piece in pieces_of(data, cuts):
        assert not tracker.closed
        tracker.take(piece)
    assert tracker.closed
    assert tracker.between
