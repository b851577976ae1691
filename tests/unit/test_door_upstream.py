"""The door's way to a shard: where a DSN leads, TLS as far as it asks, SCRAM."""

import base64
import hashlib
import hmac
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from cells.breakglass.door.scram import PLAIN, PLUS, Scram, ScramRefused, bound, end_point
from cells.breakglass.door.upstream import Target, UpstreamRefused
from foundation.mute import Secret
from tests.stands.certificates import SINCE, UNTIL, Authority

# --- the way to a shard ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dsn", "place", "mode", "clear"),
    [
        ("postgresql://u:p%40ss@db.example.com:6000/s1", ("db.example.com", 6_000), "prefer", False),
        ("postgresql://u:p%40ss@db/s1?sslmode=disable", ("db", 5_432), "disable", True),
        ("postgresql://u:p%40ss@/s1?host=/run/pg&sslmode=require", ("/run/pg", 5_432), "require", True),
        ("postgresql://u:p%40ss@[::1]/s1?sslmode=verify-full", ("::1", 5_432), "verify-full", False),
    ],
)
def test_a_dsn_says_where_a_shard_is_and_whether_tls_is_asked_for(
    dsn: str, place: tuple[str, int], mode: str, clear: bool
) -> None:
    found = Target.of(Secret(dsn))
    assert (found.host, found.port) == place
    assert (found.user, found.password, found.database) == ("u", Secret("p@ss"), "s1")
    assert (found.mode, found.in_the_clear) == (mode, clear)


@pytest.mark.parametrize(
    ("asked_for", "verified", "named"),
    [
        ("sslmode=prefer", False, False),
        ("sslmode=prefer&sslrootcert={}", False, False),
        ("sslmode=require", False, False),
        ("sslmode=require&sslrootcert={}", True, False),
        ("sslmode=verify-ca&sslrootcert={}", True, False),
        ("sslmode=verify-full&sslrootcert={}", True, True),
        ("sslmode=verify-full", True, True),
        ("sslmode=verify-full&sslrootcert=system", True, True),
    ],
)
def test_tls_is_verified_as_far_as_a_dsn_asks(asked_for: str, verified: bool, named: bool, folder: Path) -> None:
    authorities = Authority(folder, "shards").file
    made = Target.of(Secret(f"postgresql://u@db/s1?{asked_for.format(authorities)}")).tls()
    assert (made.verify_mode is ssl.CERT_REQUIRED, made.check_hostname) == (verified, named)


@pytest.mark.parametrize(
    "asked_for", ["sslmode=verify-fully", "sslmode=verify-ca", "sslmode=require&sslrootcert=system"]
)
def test_a_mode_that_nobody_knows_and_authorities_that_vouch_for_anybody_are_refused(asked_for: str) -> None:
    with pytest.raises(UpstreamRefused):
        Target.of(Secret(f"postgresql://u@db/s1?{asked_for}")).tls()


# --- SCRAM (the example of RFC 7677, section 3) ------------------------------------------------------------------------------

CHALLENGE = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"


def scram() -> Scram:
    return Scram(Secret("pencil"), "rOprNGfwEbeRWgbNEkqO", "user")


def test_scram_says_what_the_standards_example_says() -> None:
    exchange = scram()
    assert exchange.first() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    proof = b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    assert exchange.final(CHALLENGE) == b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," + proof
    exchange.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


@pytest.mark.parametrize(
    "challenge",
    [
        CHALLENGE.replace(b"rOpr", b"xOpr"),
        b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        CHALLENGE.replace(b"4096", b"4096000000"),
        CHALLENGE.replace(b"4096", b"0"),
        CHALLENGE.replace(b"W22Z", b"!!!!"),
        b"m=x," + CHALLENGE,
        b"",
    ],
)
def test_a_challenge_of_somebody_else_is_refused(challenge: bytes) -> None:
    with pytest.raises(ScramRefused):
        scram().final(challenge)


def test_a_server_that_does_not_know_the_password_is_refused() -> None:
    exchange = scram()
    with pytest.raises(ScramRefused):
        exchange.verify(b"v=")
    exchange.final(CHALLENGE)
    with pytest.raises(ScramRefused):
        exchange.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=")


def test_inside_tls_the_exchange_is_bound_where_the_server_offers_it_and_says_that_it_could_be_where_not() -> None:
    both = [PLAIN, PLUS]
    assert bound(both, b"digest") == (PLUS, b"p=tls-server-end-point,,", b"digest")
    assert bound(both, b"digest", must=True) == bound(both, b"digest")
    assert bound([PLAIN], b"digest") == (PLAIN, b"y,,", b"")
    assert bound(both, None) == (PLAIN, b"n,,", b"")
    for offered, end in (([PLUS], None), ([b"SCRAM-SHA-1"], b"digest")):
        with pytest.raises(ScramRefused):
            bound(offered, end)


def test_a_bound_exchange_proves_the_password_over_the_servers_certificate() -> None:
    """As its server reads it: the key comes back out of the proof (RFC 5802 section 3), for the channel's data alone."""
    exchange = Scram(Secret("pencil"), "abc", binding=bound([PLUS], b"digest"))
    first = exchange.first()
    assert first == b"p=tls-server-end-point,,n=,r=abc"
    challenge = b"r=abcdef,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    final = exchange.final(challenge)
    channel, _, proof = final.split(b",", 2)
    assert base64.b64decode(channel[2:]) == b"p=tls-server-end-point,,digest"
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    said = b",".join((first.partition(b",,")[2], challenge, final.rpartition(b",p=")[0]))
    signature = hmac.digest(hashlib.sha256(client_key).digest(), said, "sha256")
    given = base64.b64decode(proof[2:])
    assert bytes(one ^ other for one, other in zip(given, signature, strict=True)) == client_key


@pytest.mark.parametrize(
    ("signed_by", "digest"),
    [(hashes.SHA256(), "sha256"), (hashes.SHA384(), "sha384"), (hashes.SHA512(), "sha512"), (None, "")],
)
def test_a_certificates_end_point_is_its_hash_by_its_signatures_algorithm(
    signed_by: hashes.HashAlgorithm | None, digest: str
) -> None:
    key = ed25519.Ed25519PrivateKey.generate() if signed_by is None else ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shard")])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=7,
        not_valid_before=SINCE,
        not_valid_after=UNTIL,
    )
    shown = builder.sign(key, signed_by).public_bytes(serialization.Encoding.DER)  # type: ignore[arg-type]
    assert end_point(shown) == (hashlib.new(digest, shown).digest() if digest else None)
    assert end_point(b"no certificate") is None
