"""Does this certificate open anything now? Held against the authority that signs here and against what the ledger says. Pure.

Rules that `checked` enforces, each with a refusal of its own:
- X.509 v3 in DER, nothing after it; P-256, ECDSA with SHA-256; signed by this cell's authority.
- Exactly the extensions that are issued here, no others; the statement among them.
- The serial number is one that the ledger says was signed; name, key, times, statement and the whole certificate are as it says.
- Time lies inside; the grant has not ended; its engineer is not locked.
"""

import enum

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from cells.breakglass.book import Book, Grant, Intent
from cells.breakglass.certificates import authority as signing
from cells.breakglass.certificates import statement
from cells.breakglass.certificates.statement import MalformedStatement, Statement
from cells.breakglass.words import Phase

CERTIFICATE_BYTES_MAX = 16_384
_SECOND = 1_000_000
_ISSUED = frozenset(
    {
        (ExtensionOID.BASIC_CONSTRAINTS, True),
        (ExtensionOID.KEY_USAGE, True),
        (ExtensionOID.EXTENDED_KEY_USAGE, False),
        (ExtensionOID.SUBJECT_KEY_IDENTIFIER, False),
        (ExtensionOID.AUTHORITY_KEY_IDENTIFIER, False),
        (statement.OID, False),
    }
)
_FOREIGN = (
    ValueError,
    TypeError,
    KeyError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,  # raised where warnings are errors: of a serial number below one, for instance
)
"""What a library makes of bytes that are no certificate."""


class Flaw(enum.StrEnum):
    """Why a certificate opens nothing. Closed; clients see the value."""

    MALFORMED = "malformed"
    ALGORITHM = "algorithm"
    AUTHORITY = "authority"
    EXTENSIONS = "extensions"
    STATEMENT = "statement"
    UNKNOWN = "unknown"
    NAME = "name"
    KEY = "key"
    TIMES = "times"
    CONTRADICTS = "contradicts"
    NOT_YET = "not_yet"
    RUN_OUT = "run_out"
    ENDED = "ended"
    LOCKED = "locked"


class CertificateRefused(Exception):
    """It opens nothing."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(f"certificate refused: {flaw.value}")
        self.flaw = flaw


def checked(raw: bytes, authority: x509.Certificate, book: Book, at_us: int) -> tuple[Grant, Intent]:
    """The grant that a certificate (DER) stands for now, and its part there. Raises CertificateRefused."""
    certificate, states = read(raw, authority)
    grant, intent = _known(certificate, book)
    if certificate.subject != signing.subject_name(grant.engineer):
        raise CertificateRefused(Flaw.NAME)
    if _key_digest(certificate) != intent.key:
        raise CertificateRefused(Flaw.KEY)
    if _times(certificate) != (intent.from_us, intent.until_us):
        raise CertificateRefused(Flaw.TIMES)
    if states != stated(grant, intent):
        raise CertificateRefused(Flaw.STATEMENT)
    if signing.digest_of(certificate) != intent.digest:
        raise CertificateRefused(Flaw.CONTRADICTS)
    if at_us < intent.from_us:
        raise CertificateRefused(Flaw.NOT_YET)
    if at_us >= intent.until_us:
        raise CertificateRefused(Flaw.RUN_OUT)
    if grant.phase(at_us) not in (Phase.CERTIFIED, Phase.ACTIVE):
        raise CertificateRefused(Flaw.ENDED)
    if grant.engineer in book.locks:
        raise CertificateRefused(Flaw.LOCKED)
    return grant, intent


def read(raw: bytes, authority: x509.Certificate) -> tuple[x509.Certificate, Statement]:
    """What needs no ledger: form, signature, extensions, statement. Raises CertificateRefused."""
    if len(raw) > CERTIFICATE_BYTES_MAX:
        raise CertificateRefused(Flaw.MALFORMED)
    try:
        certificate = x509.load_der_x509_certificate(raw)
        whole = certificate.public_bytes(serialization.Encoding.DER) == raw
        shape = frozenset((one.oid, one.critical) for one in certificate.extensions)
        count = len(certificate.extensions)
        key, version, algorithm = certificate.public_key(), certificate.version, certificate.signature_hash_algorithm
        certificate.subject, certificate.issuer, certificate.serial_number, _times(certificate)
    except _FOREIGN as exc:
        raise CertificateRefused(Flaw.MALFORMED) from exc
    if not whole or version is not x509.Version.v3:
        raise CertificateRefused(Flaw.MALFORMED)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateRefused(Flaw.ALGORITHM)
    if not isinstance(algorithm, hashes.SHA256):
        raise CertificateRefused(Flaw.ALGORITHM)
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, *_FOREIGN) as exc:
        raise CertificateRefused(Flaw.AUTHORITY) from exc
    return certificate, _statement(certificate, shape, count)


def stated(grant: Grant, intent: Intent) -> Statement | None:
    """What a certificate of this intent states; None before it was signed."""
    if intent.index is None or intent.size is None or intent.root is None:
        return None
    return Statement(
        grant=grant.id,
        ticket=grant.terms.ticket,
        purpose=grant.terms.purpose,
        subjects=statement.subjects_digest(grant.terms.subjects),
        home=intent.presence.home,
        observed=intent.presence.observed,
        declared=intent.presence.declared,
        shard=intent.shard,
        index=intent.index,
        size=intent.size,
        root=intent.root,
    )


def _statement(
    certificate: x509.Certificate, shape: frozenset[tuple[x509.ObjectIdentifier, bool]], count: int
) -> Statement:
    """Raises CertificateRefused."""
    if statement.OID not in {oid for oid, _ in shape}:
        raise CertificateRefused(Flaw.STATEMENT)
    if shape != _ISSUED or count != len(_ISSUED):
        raise CertificateRefused(Flaw.EXTENSIONS)
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        held = certificate.extensions.get_extension_for_oid(statement.OID).value
        named = list(extended)
    except _FOREIGN as exc:
        raise CertificateRefused(Flaw.EXTENSIONS) from exc
    if basic.ca or usage != signing.usage(signs_certificates=False) or named != [ExtendedKeyUsageOID.CLIENT_AUTH]:
        raise CertificateRefused(Flaw.EXTENSIONS)
    if not isinstance(held, x509.UnrecognizedExtension):
        raise CertificateRefused(Flaw.STATEMENT)
    try:
        return statement.decoded(held.value)
    except MalformedStatement as exc:
        raise CertificateRefused(Flaw.STATEMENT) from exc


def _known(certificate: x509.Certificate, book: Book) -> tuple[Grant, Intent]:
    """By serial number, as the ledger has it signed. Raises CertificateRefused."""
    serial = f"{certificate.serial_number:0{2 * signing.SERIAL_BYTES}x}"
    found = book.intended(serial)
    if found is None or found[1].digest is None:
        raise CertificateRefused(Flaw.UNKNOWN)
    return found


def _key_digest(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise CertificateRefused(Flaw.ALGORITHM)
    return signing.key_digest(key)


def _times(certificate: x509.Certificate) -> tuple[int, int]:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return int(begins.timestamp()) * _SECOND, int(ends.timestamp()) * _SECOND
