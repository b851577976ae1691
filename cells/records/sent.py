"""A request as a strict reading has it, for whoever goes on with it in a task."""

import msgspec

from cells.records.familiar import Came
from foundation.problems import Problem
from foundation.wire.framing import Framed, framing_of
from foundation.wire.head import RequestHead, request_head
from foundation.wire.targets import Asked, asked_of


class Sent(msgspec.Struct, frozen=True):
    """`body`: all of it."""

    head: RequestHead
    target: Asked
    fields: Framed
    body: bytes = b""


def read_again(came: Came) -> Sent:
    """What the strict reading of a read that came again would have been."""
    head = request_head(came.sent)
    if isinstance(head, RequestHead):
        target, fields = asked_of(head), framing_of(head)
        if isinstance(target, Asked) and not isinstance(fields, Problem):
            return Sent(head, target, fields)
    raise RuntimeError("a read that was taken for one that is known cannot be read")
