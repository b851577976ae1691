"""What a witness makes of a submission, as C2SP tlog-witness orders it. Pure.

Of a log it cosigns one history: each tree begins with the one before, no tree is smaller than the one before, and no size has two roots.
"""

import enum

import msgspec

from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.merkle import EMPTY_ROOT, ProofRefused, verify_consistency
from foundation.ledger.witness.requests import Submission


class Why(enum.StrEnum):
    """Why a witness does not cosign, for metrics and logs; the status that the protocol gives it is `Refused.status`."""

    MALFORMED = "malformed"
    UNKNOWN_LOG = "unknown_log"
    UNSIGNED = "unsigned"
    OTHER_SIZE = "other_size"
    FORK = "fork"
    NO_PROOF = "no_proof"
    NOT_READY = "not_ready"


_STATUS = {
    Why.MALFORMED: 400,
    Why.UNKNOWN_LOG: 404,
    Why.UNSIGNED: 403,
    Why.OTHER_SIZE: 409,
    Why.FORK: 409,
    Why.NO_PROOF: 422,
    Why.NOT_READY: 503,
}


class Refused(msgspec.Struct, frozen=True):
    """`held`: the size that was cosigned last, where the submission went from another."""

    why: Why
    detail: str
    held: int | None = None

    @property
    def status(self) -> int:
        return _STATUS[self.why]


def judge(asked: Submission, signed: Checkpoint, held: Checkpoint | None) -> Refused | None:
    """None where it may be cosigned. `signed`: what the log's key has signed in it; `held`: what was cosigned last of that log."""
    last = held or Checkpoint(signed.origin, 0, EMPTY_ROOT)
    if asked.old > signed.size:
        return Refused(
            Why.MALFORMED, f"the checkpoint has {signed.size} entries, fewer than the old size of {asked.old}"
        )
    if asked.old != last.size:
        return Refused(Why.OTHER_SIZE, f"{last.size} entries were cosigned", last.size)
    if signed.size == last.size and signed.root != last.root:
        # Nothing was cosigned yet: the log signs for no entries under a root that no empty tree has.
        why = Why.FORK if held else Why.NO_PROOF
        return Refused(why, f"the log has signed two roots over its first {signed.size} entries")
    try:
        verify_consistency(old=last.size, old_root=last.root, new=signed.size, new_root=signed.root, path=asked.path)
    except ProofRefused as exc:
        return Refused(Why.NO_PROOF, str(exc))
    return None
