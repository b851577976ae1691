"""Certificates of break-glass: what is issued holds, and nothing else does, whoever signed it."""

import datetime
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from cells.breakglass.certificates import statement
from cells.breakglass.certificates.authority import (
    Asked,
    FileAuthority,
    KeyRefused,
    issued,
    requested_key,
    subject_name,
    usage,
)
from cells.breakglass.certificates.check import CertificateRefused, Flaw, checked, stated
from cells.breakglass.certificates.statement import MalformedStatement, Statement, decoded, encoded
from cells.breakglass.core import take
from cells.breakglass.steps import Closed, Locked, Revoked, Taken
from cells.breakglass.words import MINUTE_US, Purpose
from foundation.settings import SettingsError
from foundation.words import ActorId, CellId, Country, ShardId
from tests.stands.access import ALICE, AT, BOB, CAROL, GRANT, Signed, authority, der, must, signing_request, terms


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    return Signed(authority(tmp_path_factory.mktemp("ca")))


def flaw_of(signed: Signed, raw: bytes, at_us: int = AT) -> Flaw:
    with pytest.raises(CertificateRefused) as refused:
        checked(raw, signed.authority.certificate, signed.book, at_us)
    return refused.value.flaw


def statement_of(signed: Signed) -> Statement:
    found = stated(signed.grant, signed.grant.intents[0])
    assert found is not None
    return found


def test_what_was_issued_holds_from_its_beginning_to_its_end(signed: Signed) -> None:
    for at_us in (AT, AT + 15 * MINUTE_US - 1):
        grant, intent = checked(der(signed.certificate), signed.authority.certificate, signed.book, at_us)
        assert (grant.id, intent.serial) == (GRANT, signed.intent.serial)
    assert flaw_of(signed, der(signed.certificate), AT - 1) is Flaw.NOT_YET
    assert flaw_of(signed, der(signed.certificate), AT + 15 * MINUTE_US) is Flaw.RUN_OUT


def test_the_statement_names_the_grant_and_is_not_critical(signed: Signed) -> None:
    held = signed.certificate.extensions.get_extension_for_oid(statement.OID)
    assert held.critical is False
    assert max(int(number) for number in held.oid.dotted_string.split(".")) < 1 << 31  # Go reads no others
    assert isinstance(held.value, x509.UnrecognizedExtension)
    found = decoded(held.value.value)
    assert (found.grant, found.ticket, found.purpose, found.shard) == (GRANT, "OPS-7", Purpose.DEBUGGING, "s1")
    assert (found.home, found.observed, found.declared, found.index, found.size) == ("DE", "DE", "DE", 3, 9)
    assert (found.subjects, found.root) == (statement.subjects_digest(terms().subjects), "cd" * 32)


STATED = {
    "grant": "ef" * 16,
    "ticket": "OPS-8",
    "purpose": Purpose.SUPPORT,
    "subjects": "00" * 32,
    "home": Country("FR"),
    "observed": Country("US"),
    "declared": None,
    "shard": ShardId("s2"),
    "index": 4,
    "size": 10,
    "root": "ce" * 32,
}


def test_each_member_of_the_statement_is_mutated_below() -> None:
    assert set(STATED) == set(Statement.__struct_fields__)


@pytest.mark.parametrize("member", STATED)
def test_a_statement_with_one_member_changed_is_refused_though_the_authority_signed_it(
    signed: Signed, member: str
) -> None:
    other = msgspec.structs.replace(statement_of(signed), **{member: STATED[member]})
    assert flaw_of(signed, der(issued(signed.authority, signed.asked, other))) is Flaw.STATEMENT


@pytest.mark.parametrize(
    ("member", "value", "flaw"),
    [
        ("serial", "0" * 31 + "f", Flaw.UNKNOWN),
        ("engineer", CAROL, Flaw.NAME),
        ("key", ec.generate_private_key(ec.SECP256R1()).public_key(), Flaw.KEY),
        ("from_us", AT - 1_000_000, Flaw.TIMES),
        ("until_us", AT + 16 * MINUTE_US, Flaw.TIMES),
    ],
)
def test_a_certificate_with_one_field_changed_is_refused_though_the_authority_signed_it(
    signed: Signed, member: str, value: object, flaw: Flaw
) -> None:
    assert set(Asked.__struct_fields__) == {"serial", "engineer", "key", "from_us", "until_us"}
    other = msgspec.structs.replace(signed.asked, **{member: value})
    assert flaw_of(signed, der(issued(signed.authority, other, statement_of(signed)))) is flaw


def test_a_second_signature_over_the_same_is_not_the_one_that_the_ledger_has(signed: Signed) -> None:
    again = issued(signed.authority, signed.asked, statement_of(signed))
    assert again.tbs_certificate_bytes == signed.certificate.tbs_certificate_bytes
    assert flaw_of(signed, der(again)) is Flaw.CONTRADICTS


# --- extensions --------------------------------------------------------------------------------------------------------------

Change = Callable[[list[tuple[x509.ExtensionType, bool]]], list[tuple[x509.ExtensionType, bool]]]


def rebuilt(signed: Signed, change: Change, *, algorithm: hashes.SHA256 | hashes.SHA384 | None = None) -> bytes:
    """The same certificate with other extensions, signed by the authority."""
    real = signed.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(real.subject)
        .issuer_name(real.issuer)
        .public_key(signed.key.public_key())
        .serial_number(real.serial_number)
        .not_valid_before(real.not_valid_before_utc)
        .not_valid_after(real.not_valid_after_utc)
    )
    for value, critical in change([(one.value, one.critical) for one in real.extensions]):
        builder = builder.add_extension(value, critical=critical)
    return der(builder.sign(signed.authority._key, algorithm or hashes.SHA256()))


@pytest.mark.parametrize("place", range(6))
def test_an_extension_that_is_missing_or_of_another_criticality_is_fatal(signed: Signed, place: int) -> None:
    shown = [one.oid for one in signed.certificate.extensions]
    assert len(shown) == 6
    gone = flaw_of(signed, rebuilt(signed, lambda held: held[:place] + held[place + 1 :]))
    turned = flaw_of(signed, rebuilt(signed, lambda held: [(v, c ^ (n == place)) for n, (v, c) in enumerate(held)]))
    assert gone is (Flaw.STATEMENT if shown[place] == statement.OID else Flaw.EXTENSIONS)
    assert turned is Flaw.EXTENSIONS


def replaced(kind: type[x509.ExtensionType], value: x509.ExtensionType) -> Change:
    return lambda held: [(value if isinstance(one, kind) else one, critical) for one, critical in held]


@pytest.mark.parametrize(
    "change",
    [
        replaced(x509.BasicConstraints, x509.BasicConstraints(ca=True, path_length=0)),
        replaced(x509.KeyUsage, usage(signs_certificates=True)),
        replaced(x509.ExtendedKeyUsage, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])),
        replaced(
            x509.ExtendedKeyUsage,
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
        ),
        lambda held: [*held, (x509.SubjectAlternativeName([x509.DNSName("a.example")]), False)],
        lambda held: [*held, (x509.UnrecognizedExtension(x509.ObjectIdentifier("2.25.7"), b"\x05\x00"), True)],
    ],
)
def test_other_extensions_are_refused_though_the_authority_signed_them(signed: Signed, change: Change) -> None:
    assert flaw_of(signed, rebuilt(signed, change)) is Flaw.EXTENSIONS


def test_key_identifiers_of_others_are_not_what_was_recorded(signed: Signed) -> None:
    other = x509.SubjectKeyIdentifier(b"\x01" * 20)
    assert flaw_of(signed, rebuilt(signed, replaced(x509.SubjectKeyIdentifier, other))) is Flaw.CONTRADICTS


@pytest.mark.parametrize(
    "raw", [b"", b"\x0c\x00", b"\x0c\x02{}", b"\x04\x02{}", b"\x0c\x82\x00\x02{}", b"\x0c\x05null "]
)
def test_an_extension_that_holds_no_statement_is_refused(signed: Signed, raw: bytes) -> None:
    other = x509.UnrecognizedExtension(statement.OID, raw)
    assert flaw_of(signed, rebuilt(signed, replaced(x509.UnrecognizedExtension, other))) is Flaw.STATEMENT


def test_a_statement_has_one_spelling(signed: Signed) -> None:
    raw = encoded(statement_of(signed))
    assert decoded(raw) == statement_of(signed)
    begin = raw.index(b"{")
    text = raw[begin:]
    for other in (text.replace(b",", b", ", 1), text.replace(b"}", b',"more":1}'), text[:-1], b"\xff" + text):
        with pytest.raises(MalformedStatement):
            decoded(b"\x0c\x82" + len(other).to_bytes(2, "big") + other)
    with pytest.raises(MalformedStatement):
        decoded(b"\x0c\x83\x00" + len(text).to_bytes(2, "big") + text)


# --- signatures --------------------------------------------------------------------------------------------------------------


def test_another_authority_of_the_same_name_signs_nothing_here(signed: Signed, folder: Path) -> None:
    stranger = authority(folder)
    assert stranger.certificate.subject == signed.authority.certificate.subject
    assert flaw_of(signed, der(issued(stranger, signed.asked, statement_of(signed)))) is Flaw.AUTHORITY


def test_the_authoritys_key_under_another_name_signs_nothing_here(signed: Signed, folder: Path) -> None:
    other = authority(folder, CellId("us-va"))
    other._key = signed.authority._key
    issued_there = issued(other, signed.asked, statement_of(signed))
    assert issued_there.issuer != signed.certificate.issuer
    assert flaw_of(signed, der(issued_there)) is Flaw.AUTHORITY


def test_other_algorithms_and_the_authoritys_own_certificate_open_nothing(signed: Signed) -> None:
    assert flaw_of(signed, rebuilt(signed, lambda held: held, algorithm=hashes.SHA384())) is Flaw.ALGORITHM
    assert flaw_of(signed, der(signed.authority.certificate)) is Flaw.STATEMENT
    other = msgspec.structs.replace(signed.asked, key=ec.generate_private_key(ec.SECP384R1()).public_key())
    assert flaw_of(signed, der(issued(signed.authority, other, statement_of(signed)))) is Flaw.ALGORITHM


def test_every_changed_bit_of_a_certificate_is_refused(signed: Signed) -> None:
    raw = der(signed.certificate)
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1 << (place % 8)
        flaw_of(signed, bytes(changed))


def test_five_hundred_malformed_certificates_are_refused(signed: Signed) -> None:
    draw, raw = random.Random(20261126), der(signed.certificate)
    for number in range(500):
        changed = bytearray(raw)
        begin = draw.randrange(len(changed))
        match number % 5:
            case 0:
                del changed[begin:]
            case 1:
                changed[begin:begin] = draw.randbytes(draw.randrange(1, 9))
            case 2:
                del changed[begin : begin + draw.randrange(1, 9)]
            case 3:
                changed = bytearray(draw.randbytes(draw.randrange(1, 900)))
            case _:
                size = draw.randrange(1, 40)
                changed[begin : begin + size] = draw.randbytes(size)
        if bytes(changed) != raw:
            flaw_of(signed, bytes(changed))
    assert flaw_of(signed, raw + b"\x00") is Flaw.MALFORMED
    assert flaw_of(signed, raw + bytes(20_000)) is Flaw.MALFORMED


# --- what ended --------------------------------------------------------------------------------------------------------------


def test_a_revoked_or_closed_grant_and_a_locked_person_open_nothing(folder: Path) -> None:
    for by, step, flaw in (
        (BOB, Revoked(grant=GRANT, reason="enough"), Flaw.ENDED),
        (ALICE, Closed(grant=GRANT, reason="done"), Flaw.ENDED),
        (BOB, Locked(person=ALICE, reason="laptop stolen"), Flaw.LOCKED),
    ):
        signed = Signed(authority(folder))
        must(signed.book, by, step)
        assert flaw_of(signed, der(signed.certificate)) is flaw


def test_what_was_intended_and_never_recorded_as_signed_opens_nothing(folder: Path) -> None:
    signed = Signed(authority(folder))
    signed.intent = signed.intend()
    assert flaw_of(signed, der(issued(signed.authority, signed.asked, statement_of(signed)))) is Flaw.UNKNOWN


def test_a_certificate_lost_is_made_anew_inside_the_same_time_box(folder: Path) -> None:
    signed = Signed(authority(folder))
    signed.intent = signed.intend()
    second = signed.sign(signed.intent)
    for certificate in (signed.certificate, second):
        checked(der(certificate), signed.authority.certificate, signed.book, AT)
    assert signed.grant.until_us == AT + 15 * MINUTE_US
    late = take(signed.book, Taken(AT + 16 * MINUTE_US, ActorId(ALICE), Closed(grant=GRANT, reason="late")))
    assert late is not None


def test_a_long_id_goes_by_its_digest_in_the_name() -> None:
    long = [str(subject_name(f"engineer:{'a' * 90}{end}").rfc4514_string()) for end in "xy"]
    assert len(set(long)) == 2
    assert max(len(name) for name in long) <= 64 + len("CN=")
    assert subject_name("engineer:alice").rfc4514_string() == "CN=engineer:alice"


# --- keys --------------------------------------------------------------------------------------------------------------------


def test_only_a_request_signed_by_its_own_p_256_key_is_certified() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert requested_key(signing_request(key)) == key.public_key()
    large = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(KeyRefused, match="P-256"):
        requested_key(signing_request(large))
    other = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    pem = other.sign(rsa.generate_private_key(65537, 2048), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(KeyRefused, match="P-256"):
        requested_key(pem.decode())
    real = x509.load_pem_x509_csr(signing_request(key).encode()).public_bytes(serialization.Encoding.DER)
    forged = x509.load_der_x509_csr(real[:-1] + bytes([real[-1] ^ 1])).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(KeyRefused, match="signed"):
        requested_key(forged.decode())
    for text in ("", "x" * 10_000, "-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----\n"):
        with pytest.raises(KeyRefused):
            requested_key(text)


def test_a_key_that_others_can_read_or_that_is_another_certificates_is_not_used(folder: Path) -> None:
    authority(folder)
    key, certificate = folder / "eu-de.ca-key", folder / "eu-de.ca.pem"
    key.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        FileAuthority(key, certificate)
    key.chmod(0o600)
    (folder / "other").mkdir()
    authority(folder / "other")
    with pytest.raises(SettingsError, match="not the certificate"):
        FileAuthority(key, folder / "other" / "eu-de.ca.pem")
    certificate.write_text("none")
    with pytest.raises(SettingsError, match="PEM"):
        FileAuthority(key, certificate)


def test_the_authority_certifies_nothing_but_ends_of_chains(signed: Signed) -> None:
    own = signed.authority.certificate
    assert own.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    assert own.not_valid_after_utc - own.not_valid_before_utc == datetime.timedelta(days=3650)
