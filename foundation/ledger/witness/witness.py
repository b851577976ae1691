"""A witness: judges what logs submit, keeps what it cosigns, and only then lets the cosignature go.

Rules that it keeps:
- What a cosignature says is on the disk before the cosignature leaves.
- Of each log one history, which only grows (`core.judge`), and times that do not go back.
- One process a folder; submissions take turns.
- A log whose file is damaged is refused; the others are served.
"""

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from foundation import logs
from foundation.clock import Clock
from foundation.ledger import checkpoints, notes
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.notes import NoteRefused, Verifier
from foundation.ledger.witness import metrics, requests
from foundation.ledger.witness.core import Refused, Why, judge
from foundation.ledger.witness.cosignatures import Cosigner
from foundation.ledger.witness.held import Held, HeldDamaged, fork_in
from foundation.ledger.witness.requests import MalformedRequest, Submission

log = logs.get(__name__)


class Witness:
    """From its making to `close`. Calls may come from any thread; each waits for the disk."""

    def __init__(self, folder: Path, cosigner: Cosigner, known: Iterable[Verifier], clock: Clock) -> None:
        """`known`: the logs that are cosigned. Raises LogBusy, HeldDamaged, OSError; ValueError for a log under this witness's own key."""
        self._cosigner = cosigner
        self._known: Mapping[str, Verifier] = {one.name: one for one in known}
        self._clock = clock
        self._folder = folder
        self._mutex = threading.Lock()
        if any(one.public == cosigner.verifier.public for one in self._known.values()):
            raise ValueError("a log signs under the witness's own key, and so would witness itself")
        self._held = Held(folder, cosigner.verifier)
        self._tell()

    def close(self) -> None:
        """Waits for a call under way."""
        with self._mutex:
            self._held.close()

    def add(self, body: bytes) -> bytes | Refused:
        """The line of the cosignature, or why there is none."""
        answer = self._answer(body)
        if isinstance(answer, Refused):
            metrics.REFUSED.labels(answer.why.value).inc()
        return answer

    def _answer(self, body: bytes) -> bytes | Refused:
        try:
            asked = requests.parse(body)
            text, _ = notes.taken_apart(asked.note)
            origin = checkpoints.parse(text).origin
        except (MalformedRequest, NoteRefused) as exc:
            return Refused(Why.MALFORMED, str(exc))
        verifier = self._known.get(origin)
        if verifier is None:
            return Refused(Why.UNKNOWN_LOG, "this witness does not know the log")
        try:
            signed = checkpoints.opened(asked.note, verifier)
        except NoteRefused as exc:
            return Refused(Why.UNSIGNED, str(exc))
        with self._mutex:
            return self._judged(asked, text, signed, verifier)

    def _judged(self, asked: Submission, text: str, signed: Checkpoint, verifier: Verifier) -> bytes | Refused:
        try:
            last = self._held.last(verifier)
            refused = judge(asked, signed, last.checkpoint if last else None)
            if refused is None:
                at_s = max(int(self._clock.unix_s()), last.at_s if last else 0)
                return self._cosigned(text, asked.note, signed, verifier, at_s)
            if refused.why is Why.FORK and self._held.keep_fork(verifier, asked.note):
                metrics.FORKED.labels(verifier.name).set(1)
                log.error("witness_saw_fork", source=verifier.name, count=signed.size)
        except HeldDamaged as exc:
            log.fault("witness_damaged", exc, source=verifier.name, reason=str(exc))
            return Refused(Why.NOT_READY, "what was cosigned last of this log cannot be read")
        except OSError as exc:
            log.fault("witness_disk", exc, source=verifier.name)
            return Refused(Why.NOT_READY, "the disk of this witness does not take it")
        return refused

    def _cosigned(self, text: str, note: bytes, signed: Checkpoint, verifier: Verifier, at_s: int) -> bytes:
        """Raises OSError."""
        line = self._cosigner.cosign(text, at_s)
        own = next(one for one in notes.taken_apart(note)[1] if verifier.made(one))
        self._held.keep(verifier, f"{text}\n{own.text}{line}".encode())
        metrics.COSIGNED.labels(verifier.name).inc()
        metrics.SIZE.labels(verifier.name).set(signed.size)
        return line.encode()

    def _tell(self) -> None:
        """How things stand at the start: what is damaged is named before anybody asks."""
        for verifier in self._known.values():
            metrics.FORKED.labels(verifier.name).set(fork_in(self._folder, verifier))
            try:
                last = self._held.last(verifier)
            except (HeldDamaged, OSError) as exc:
                log.fault("witness_damaged", exc, source=verifier.name, reason=str(exc))
            else:
                metrics.SIZE.labels(verifier.name).set(last.checkpoint.size if last else 0)
