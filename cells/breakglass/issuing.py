"""A certificate, from intent to hand-over, and the check of one that is shown.

The intent is recorded; the entries of intent and approval stand in a signed checkpoint; then it is signed; that it was is recorded; then it
is handed over. What breaks off in between leaves a certificate that nobody has and that opens nothing.
"""

import asyncio
import secrets
from collections.abc import Sequence

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cells.breakglass.book import Book, Grant, Intent
from cells.breakglass.certificates.authority import (
    SERIAL_BYTES,
    Asked,
    Authority,
    KeyRefused,
    digest_of,
    issued,
    key_digest,
    requested_key,
)
from cells.breakglass.certificates.check import CERTIFICATE_BYTES_MAX, CertificateRefused, Flaw, checked, stated
from cells.breakglass.desk import Desk
from cells.breakglass.keeper import Keeper
from cells.breakglass.locks import barring
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.policy import Person
from cells.breakglass.refusals import Refused, Why
from cells.breakglass.replay import grant_event
from cells.breakglass.standing import Ledger, NotStanding, proved
from cells.breakglass.steps import AnyStep, Begun, Certified, Intended
from cells.breakglass.words import MINUTE_US, SECOND_US, GrantId, Phase
from foundation import logs
from foundation.clock import SKEW_S_MAX
from foundation.ledger.notes import Verifier
from foundation.problems import Code, refuse
from foundation.words import ActorId, ShardId

log = logs.get(__name__)

STANDING_S_MAX = 5.0
"""Longest wait for an entry to stand in a signed checkpoint; the log takes outboxes in four times a second."""
_LOOK_S = 0.1


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate and the authority that signed it, PEM."""

    grant: Grant
    certificate: str
    authority: str


class Issuing:
    """One cell's. Each call raises ProblemError."""

    def __init__(
        self,
        *,
        desk: Desk,
        keeper: Keeper,
        authority: Authority,
        ledger: Ledger,
        log_key: Verifier,
        elsewhere: Elsewhere,
    ) -> None:
        self._desk = desk
        self._keeper = keeper
        self._authority = authority
        self._ledger = ledger
        self._log_key = log_key
        self._elsewhere = elsewhere

    @property
    def authority_pem(self) -> str:
        return _pem(self._authority.certificate)

    async def certify(self, person: Person, grant: GrantId, request: str, shard: ShardId | None) -> Issued:
        """No proof, no certificate."""
        try:
            key = requested_key(request)
        except KeyRefused as exc:
            raise refuse(Code.BAD_REQUEST, str(exc)) from exc
        chosen = await self._shard(person, grant, shard)
        before = await self._signed_size()
        held, intent = await self._intended(person, grant, key, chosen)
        standing = await self._standing(held, intent, before)
        signed = msgspec.structs.replace(intent, index=standing[0], size=standing[1], root=standing[2])
        states = stated(held, signed)
        if states is None:
            raise Refused(Why.NO_PROOF).error()
        asked = Asked(intent.serial, held.engineer, key, intent.from_us, intent.until_us)
        certificate = issued(self._authority, asked, states)

        def step(_held: Grant, _book: Book, _at_us: int) -> AnyStep:
            return Certified(
                grant=grant,
                serial=intent.serial,
                digest=digest_of(certificate),
                index=standing[0],
                size=standing[1],
                root=standing[2],
            )

        recorded = await self._desk.about(person, "certify", grant, step)
        log.info("certificate_issued", actor=person.id, shard=chosen)
        return Issued(grant=recorded, certificate=_pem(certificate), authority=self.authority_pem)

    async def check(self, person: Person, certificate: str) -> tuple[Grant, Intent]:
        """The grant that a certificate (PEM) stands for now; the first time that one is shown is recorded."""
        raw = _der(certificate)
        try:
            book, at_us = await self._keeper.book()
            grant, intent = checked(raw, self._authority.certificate, book, at_us)
            permitted = self._desk.permitted(person, "show", book, grant.id)
            if isinstance(permitted, Refused):
                raise permitted.error()
            self._let_in(grant)
            if grant.phase(at_us) is Phase.CERTIFIED:
                grant = await self._begun(person.id, raw)
        except CertificateRefused as exc:
            raise _nothing(exc.flaw) from exc
        return grant, intent

    async def shown(self, raw: bytes) -> tuple[Grant, Intent]:
        """The same for a certificate (DER) that was shown with proof of its key. Raises CertificateRefused, too."""
        book, at_us = await self._keeper.book()
        grant, intent = checked(raw, self._authority.certificate, book, at_us)
        self._let_in(grant)
        if grant.phase(at_us) is Phase.CERTIFIED:
            grant = await self._begun(grant.engineer, raw)
        return grant, intent

    def _let_in(self, grant: Grant) -> None:
        """Raises ProblemError where another cell's lock, or others' silence, says that a grant is no access just now."""
        barred = barring.of_grant(self._elsewhere, grant)
        if barred is not None:
            raise barred.error()

    async def _begun(self, by: ActorId, raw: bytes) -> Grant:
        """Raises CertificateRefused, ProblemError."""
        found: list[GrantId] = []

        def decide(book: Book, at_us: int) -> Sequence[AnyStep] | Refused:
            grant, intent = checked(raw, self._authority.certificate, book, at_us)
            found.append(grant.id)
            running = grant.phase(at_us) is Phase.ACTIVE
            return () if running else (Begun(grant=grant.id, serial=intent.serial),)

        book = await self._keeper.act(by, decide)
        return book.grants[found[0]]

    async def _shard(self, person: Person, grant: GrantId, shard: ShardId | None) -> ShardId:
        """The shard to be opened: one on which some of the subjects live; the ticket is still open, and all are still here."""
        book, _ = await self._keeper.book()
        held = self._desk.permitted(person, "certify", book, grant)
        if isinstance(held, Refused):
            raise held.error()
        shards = await self._desk.ready(held.terms)
        if shard is None and len(shards) > 1:
            raise refuse(Code.BAD_REQUEST, "the subjects live on several shards; name one", shards=sorted(shards))
        chosen = next(iter(shards)) if shard is None else shard
        if chosen not in shards:
            raise Refused(Why.SUBJECTS).error()
        return chosen

    async def _intended(
        self, person: Person, grant: GrantId, key: ec.EllipticCurvePublicKey, shard: ShardId
    ) -> tuple[Grant, Intent]:
        # The first bit is not set: serial numbers are positive (RFC 5280 section 4.1.2.2). The second is, so that all are as long.
        serial = f"{secrets.randbits(8 * SERIAL_BYTES - 2) | 1 << (8 * SERIAL_BYTES - 2):0{2 * SERIAL_BYTES}x}"

        def step(held: Grant, _book: Book, at_us: int) -> AnyStep:
            ends = at_us + held.terms.minutes * MINUTE_US if held.until_us is None else held.until_us
            return Intended(
                grant=grant,
                serial=serial,
                key=key_digest(key),
                shard=shard,
                presence=person.presence,
                from_us=_whole(at_us - int(SKEW_S_MAX * SECOND_US)),
                until_us=_whole(ends),
            )

        held = await self._desk.about(person, "certify", grant, step)
        intent = held.intent(serial)
        if intent is None:
            raise Refused(Why.SERIAL).error()
        return held, intent

    async def _standing(self, grant: Grant, intent: Intent, before: int) -> tuple[int, int, str]:
        """Where the approval's entry stands, once that of the intent does, too: it comes after the first `before` entries."""
        if grant.approval is None:
            raise Refused(Why.PHASE).error()
        try:
            await self._stands(grant_event(grant.id, grant.steps - 1), before)
            return await proved(self._ledger, grant_event(grant.id, grant.approval), self._log_key)
        except (TimeoutError, NotStanding) as exc:
            log.warning("certificate_without_proof", shard=intent.shard)
            raise Refused(Why.NO_PROOF).error() from exc

    async def _stands(self, event_id: str, before: int) -> None:
        """Waits until an event that was recorded just now stands in the log. Raises TimeoutError."""
        async with asyncio.timeout(STANDING_S_MAX):
            while True:
                try:
                    await proved(self._ledger, event_id, self._log_key, after=before)
                    return
                except NotStanding:
                    await asyncio.sleep(_LOOK_S)

    async def _signed_size(self) -> int:
        """Entries that stand already: the intent will come after them."""
        try:
            return await self._ledger.size()
        except NotStanding as exc:
            raise Refused(Why.NO_PROOF).error() from exc


def _whole(at_us: int) -> int:
    """Certificates know whole seconds."""
    return at_us // SECOND_US * SECOND_US


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _der(pem: str) -> bytes:
    """Raises ProblemError."""
    try:
        if len(pem) > 2 * CERTIFICATE_BYTES_MAX:
            raise ValueError("too long")
        return x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)
    except (ValueError, x509.InvalidVersion) as exc:
        raise _nothing(Flaw.MALFORMED) from exc


def _nothing(flaw: Flaw) -> Exception:
    return refuse(Code.FORBIDDEN, f"the certificate opens nothing: {flaw.value}", reason=flaw.value)
