"""A log's way to one witness: submits checkpoints, and believes nothing but a cosignature of that witness's key over what was submitted."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import httpx
import msgspec

from foundation import logs
from foundation.http import HttpClient
from foundation.ledger import merkle, metrics, notes
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.merkle import Subtrees
from foundation.ledger.notes import Line, NoteRefused
from foundation.ledger.witness import requests
from foundation.ledger.witness.cosignatures import WitnessKey
from foundation.ledger.witness.requests import MalformedRequest, Submission

log = logs.get(__name__)

TRIES_MAX = 3
"""Submissions of one checkpoint in a row: a witness that was thought to have cosigned another size says which."""
ANSWER_BYTES_MAX = notes.NOTE_BYTES_MAX


class WitnessAt(msgspec.Struct, frozen=True, kw_only=True):
    """A witness by the name that settings give it. `url`: the submission prefix."""

    name: str
    url: str
    key: WitnessKey


class NoCosignature(Exception):
    """A witness did not cosign; the message says why, in a word or two."""


class Offered(msgspec.Struct, frozen=True):
    """A checkpoint as it is offered to witnesses: the note, its text, and the tree that it is over."""

    note: bytes
    text: str
    checkpoint: Checkpoint
    hashes: Subtrees

    def path_from(self, old: int) -> list[bytes]:
        """Reads tiles: raises what these raise."""
        return merkle.consistency(old, self.checkpoint.size, self.hashes)


class _Answer(NamedTuple):
    status: int
    kind: str
    body: bytes


class Asking:
    """One witness. `held`: what it is thought to have cosigned last; `cosigned`: what it did cosign, by its own signature."""

    def __init__(self, at: WitnessAt, http: HttpClient) -> None:
        self.at = at
        self.held = 0
        self.cosigned = 0
        self._http = http
        self._why: str | None = None

    def remembers(self, size: int) -> None:
        """It has cosigned so many entries: a cosignature was found."""
        self.cosigned = max(self.cosigned, size)
        self.held = max(self.held, size)

    def stands(self, why: str | None) -> None:
        """How the last submission ended: `why` there is no cosignature. Said once for each change."""
        metrics.WITNESS_UP.labels(self.at.name).set(why is None)
        if why != self._why:
            if why is None:
                log.info("ledger_witness_back", source=self.at.name)
            else:
                log.warning("ledger_witness_away", source=self.at.name, reason=why)
        self._why = why

    async def ask(self, offered: Offered) -> Line:
        """Raises NoCosignature, and what reading tiles raises."""
        for _ in range(TRIES_MAX):
            size, old = offered.checkpoint.size, self.held
            if old > size:
                raise NoCosignature("has cosigned more")
            path = await asyncio.to_thread(offered.path_from, old)
            answer = await self._posted(Submission(old, tuple(path), offered.note))
            if answer.status == 200:
                line = self._own(answer.body, offered.text)
                self.remembers(size)
                return line
            if answer.status != 409 or answer.kind != requests.SIZE_TYPE:
                raise NoCosignature(f"status {answer.status}")
            self._take(answer.body, old)
        raise NoCosignature("says another size each time")

    async def _posted(self, submission: Submission) -> _Answer:
        url, body = f"{self.at.url}{requests.PATH}", bytearray()
        fields = {"accept-encoding": "identity"}
        try:
            async with self._http.stream("POST", url, content=submission.render(), headers=fields) as answer:
                # As it came and not packed: what unpacks to more than memory holds is not unpacked.
                async for chunk in answer.aiter_raw():
                    body += chunk
                    if len(body) > ANSWER_BYTES_MAX:
                        raise NoCosignature("answers too much")
        except httpx.HTTPError as exc:
            raise NoCosignature(type(exc).__name__) from exc
        return _Answer(answer.status_code, answer.headers.get("content-type", ""), bytes(body))

    def _own(self, body: bytes, text: str) -> Line:
        lines: Sequence[Line]
        try:
            lines = notes.lines_in(body)
        except NoteRefused as exc:
            raise NoCosignature("answers no signatures") from exc
        for line in lines:
            if self.at.key.cosignature(text, line) is not None:
                return line
        raise NoCosignature("answers no cosignature of its key")

    def _take(self, body: bytes, old: int) -> None:
        """The size that the witness says it holds."""
        try:
            held = requests.size_in(body)
        except MalformedRequest as exc:
            raise NoCosignature("answers no size") from exc
        if held == old:
            raise NoCosignature("contradicts itself")
        if held < self.cosigned:
            # It was put back to an older state: it might cosign another history from there, and did cosign more before.
            metrics.WITNESS_FORGOT.labels(self.at.name).inc()
            log.error("ledger_witness_forgot", source=self.at.name, count=self.cosigned, limit=held)
            self.cosigned = held
        self.held = held
