"""What tests of break-glass share: an authority, people, and a book in which one certificate was signed."""

import itertools
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cells.breakglass.book import Book, Grant, Intent
from cells.breakglass.certificates.authority import Asked, FileAuthority, digest_of, issued, key_digest, made
from cells.breakglass.certificates.check import stated
from cells.breakglass.core import take
from cells.breakglass.steps import AnyStep, Approved, Certified, Intended, Presence, Requested, Taken, Terms
from cells.breakglass.words import MINUTE_US, EngineerId, GrantId, Purpose, engineer_of
from foundation.words import CellId, Country, ShardId

AT = 1_800_000_000_000_000
CELL = CellId("eu-de")
ALICE, BOB, CAROL = (engineer_of(name) for name in ("alice", "bob", "carol"))
SUBJECT = "0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77"
GRANT = GrantId("ab" * 16)


def presence(country: str = "DE", *, home: str = "DE") -> Presence:
    where = Country(country)
    return Presence(
        home=Country(home), observed=where, declared=where, inside=country == "DE", home_inside=home == "DE"
    )


def terms(**changes: object) -> Terms:
    usual = Terms(subjects=(SUBJECT,), purpose=Purpose.DEBUGGING, ticket="OPS-7", minutes=15, reason="wrong totals")
    return msgspec.structs.replace(usual, **changes)


def authority(folder: Path, cell: CellId = CELL, at_us: int = AT) -> FileAuthority:
    """A new one in files of the folder, an hour old by then."""
    key, certificate = made(cell, at_us - 3_600_000_000)
    paths = folder / f"{cell}.ca-key", folder / f"{cell}.ca.pem"
    for path, content in zip(paths, (key.reveal(), certificate), strict=True):
        path.touch(mode=0o600)
        path.write_bytes(content)
    return FileAuthority(*paths)


def must(book: Book, by: EngineerId, step: AnyStep, at_us: int = AT) -> Grant:
    """Takes a step that holds; the grant after it."""
    refused = take(book, Taken(at_us, by, step))
    assert refused is None, refused
    return book.grants[getattr(step, "grant", GRANT)]


def signing_request(key: ec.EllipticCurvePrivateKey | None = None) -> str:
    made_key = key or ec.generate_private_key(ec.SECP256R1())
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(made_key, hashes.SHA256())
    return built.public_bytes(serialization.Encoding.PEM).decode()


_serials = itertools.count(1)


class Signed:
    """A grant of Alice, approved by Bob, and the certificate under it."""

    def __init__(self, authority: FileAuthority, asked: Terms | None = None) -> None:
        self.authority, self.book = authority, Book()
        self.key = ec.generate_private_key(ec.SECP256R1())
        must(self.book, ALICE, Requested(grant=GRANT, terms=asked or terms(), presence=presence(), needed=1))
        must(self.book, BOB, Approved(grant=GRANT, version=1, presence=presence()))
        self.intent = self.intend()
        self.certificate = self.sign(self.intent)

    def intend(self) -> Intent:
        serial = f"{next(_serials):032x}"
        step = Intended(
            grant=GRANT,
            serial=serial,
            key=key_digest(self.key.public_key()),
            shard=ShardId("s1"),
            presence=presence(),
            from_us=AT,
            until_us=AT + 15 * MINUTE_US,
        )
        found = must(self.book, ALICE, step).intent(serial)
        assert found is not None
        return found

    @property
    def grant(self) -> Grant:
        return self.book.grants[GRANT]

    @property
    def asked(self) -> Asked:
        return Asked(self.intent.serial, ALICE, self.key.public_key(), self.intent.from_us, self.intent.until_us)

    def sign(self, intent: Intent) -> x509.Certificate:
        standing = msgspec.structs.replace(intent, index=3, size=9, root="cd" * 32)
        states = stated(self.grant, standing)
        assert states is not None
        certificate = issued(self.authority, self.asked, states)
        step = Certified(
            grant=GRANT, serial=intent.serial, digest=digest_of(certificate), index=3, size=9, root="cd" * 32
        )
        must(self.book, ALICE, step)
        return certificate


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
