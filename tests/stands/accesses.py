"""What a gateway has on record of accesses and has not handed over yet, as it would be handed over."""

import msgspec

from cells.service.api import RecordsRequest
from foundation.ledger.entries import Single
from foundation.ledger.handed import singles
from gateway.edge.events import Recorder


def accesses_in(recorder: Recorder) -> list[Single]:
    recorder.accesses._close()
    bodies = [closed.body for closed in recorder.accesses._closed]
    return read(*bodies)


def read(*bodies: bytes) -> list[Single]:
    """The records of what was handed over, in order."""
    asked = [msgspec.json.decode(body, type=RecordsRequest) for body in bodies]
    return [one for each in asked for one in singles(f"sheaf:{each.id}", each.records)]
