"""A cell's certificate authority: its key in a file by default, behind a port; certificates of P-256 keys that engineers keep."""

import datetime
import hashlib
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from cells.breakglass.certificates import statement
from cells.breakglass.certificates.statement import Statement
from foundation.mute import Secret
from foundation.settings import SettingsError, read_secret
from foundation.words import ActorId, CellId

REQUEST_BYTES_MAX = 8_192
AUTHORITY_DAYS = 3_650
SERIAL_BYTES = 16
_SECOND = 1_000_000
_FOREIGN = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
"""What a library makes of files and requests that are none."""


class KeyRefused(Exception):
    """A certificate signing request (RFC 2986) is malformed, of another kind of key, or not signed by it."""


class Authority(Protocol):
    """Where the key is: in a file, or in a module that never gives it out."""

    @property
    def certificate(self) -> x509.Certificate: ...

    def sign(self, builder: x509.CertificateBuilder) -> x509.Certificate: ...


class FileAuthority:
    """A key in a file of mode 0600, and the authority's own certificate in another."""

    def __init__(self, key_file: Path, certificate_file: Path) -> None:
        """Raises SettingsError."""
        try:
            key = serialization.load_pem_private_key(read_secret(key_file).reveal(), password=None)
            self._certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        except _FOREIGN as exc:
            raise SettingsError(f"{key_file} and {certificate_file} hold no key and certificate in PEM") from exc
        except OSError as exc:
            raise SettingsError(f"{certificate_file} cannot be read ({exc.strerror})") from exc
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise SettingsError(f"{key_file} holds a key of another kind than P-256")
        if key.public_key() != self._certificate.public_key():
            raise SettingsError(f"{certificate_file} is not the certificate of the key in {key_file}")
        self._key = key

    @property
    def certificate(self) -> x509.Certificate:
        return self._certificate

    def sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        return builder.sign(self._key, hashes.SHA256())


class Asked(msgspec.Struct, frozen=True):
    """What is to be certified. `from_us`, `until_us`: whole seconds."""

    serial: str
    engineer: ActorId
    key: ec.EllipticCurvePublicKey
    from_us: int
    until_us: int


def made(cell: CellId, at_us: int) -> tuple[Secret[bytes], bytes]:
    """A new authority: its private key and its own certificate, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"domicile break-glass {cell}")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_at(at_us))
        .not_valid_after(_at(at_us) + datetime.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Secret(pem), certificate.public_bytes(serialization.Encoding.PEM)


def requested_key(pem: str) -> ec.EllipticCurvePublicKey:
    """The public key of a signing request in PEM, of which its sender holds the private one. Raises KeyRefused."""
    raw = pem.encode()
    if len(raw) > REQUEST_BYTES_MAX:
        raise KeyRefused(f"a signing request has at most {REQUEST_BYTES_MAX} bytes")
    try:
        asked = x509.load_pem_x509_csr(raw)
        key, signed = asked.public_key(), asked.is_signature_valid
    except _FOREIGN as exc:
        raise KeyRefused("no signing request in PEM") from exc
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyRefused("only P-256 keys are certified")
    if not signed:
        raise KeyRefused("the signing request is not signed by its own key")
    return key


def key_digest(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the SubjectPublicKeyInfo."""
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def issued(authority: Authority, asked: Asked, states: Statement) -> x509.Certificate:
    """The certificate. The subject's name is the engineer's id; who reads it needs nothing but the statement."""
    identifier = x509.SubjectKeyIdentifier.from_public_key(asked.key)
    own = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(asked.engineer))
        .issuer_name(authority.certificate.subject)
        .public_key(asked.key)
        .serial_number(int(asked.serial, 16))
        .not_valid_before(_at(asked.from_us))
        .not_valid_after(_at(asked.until_us))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
        .add_extension(x509.UnrecognizedExtension(statement.OID, statement.encoded(states)), critical=False)
    )
    return authority.sign(builder)


def digest_of(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def _name(common: str) -> x509.Name:
    """RFC 5280 bounds a common name to 64 characters; a longer id goes by its digest."""
    text = common if len(common) <= 64 else f"engineer:sha256:{hashlib.sha256(common.encode()).hexdigest()[:40]}"
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def subject_name(engineer: str) -> x509.Name:
    """As certificates of this engineer have it."""
    return _name(engineer)


def usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _at(at_us: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at_us // _SECOND, datetime.UTC)
