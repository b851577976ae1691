"""What goes out in one turn of the loop goes out together at its end, whole and in its order."""

import asyncio

from foundation.wire.outbox import HELD_MAX, Outbox
from tests.stands.memory_wire import Loop, Pipe


class Deaf(asyncio.Protocol):
    """Nothing comes for it."""


def held() -> tuple[Loop, Outbox, Pipe, Pipe]:
    loop = Loop()
    return loop, Outbox(loop), Pipe(Deaf(), loop), Pipe(Deaf(), loop)


def test_it_goes_out_at_the_end_of_the_turn_in_its_order() -> None:
    loop, outbox, ann, ben = held()
    outbox.write(ann, b"one ")
    outbox.write(ben, b"two")
    outbox.write(ann, b"three")
    assert (ann.sent, ben.sent) == (b"", b"")
    loop.settle()
    assert (ann.sent, ben.sent) == (b"one three", b"two")
    outbox.write(ben, b" four")
    loop.settle()
    assert ben.sent == b"two four"
    loop.close()


def test_it_goes_out_before_that_when_somebody_says_so_and_once() -> None:
    loop, outbox, ann, _ = held()
    turn = outbox.turn
    outbox.write(ann, b"one")
    assert outbox.turn == turn
    outbox.flush()
    assert (ann.sent, outbox.turn == turn) == (b"one", False)
    loop.settle()
    assert ann.sent == b"one"
    loop.close()


def test_what_is_held_is_bounded() -> None:
    loop, outbox, ann, _ = held()
    for _ in range(HELD_MAX):
        outbox.write(ann, b"x")
    assert len(ann.sent) == HELD_MAX
    loop.close()


def test_who_leaves_in_between_gets_nothing() -> None:
    loop, outbox, ann, ben = held()
    outbox.write(ann, b"one")
    outbox.write(ben, b"two")
    ann.abort()
    loop.settle()
    assert (ann.sent, ben.sent) == (b"", b"two")
    loop.close()
