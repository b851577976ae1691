"""SCRAM-SHA-256 (RFC 5802, RFC 7677) as a client; inside TLS bound to the server's certificate (RFC 5929). Pure: the nonce is given."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Container
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from foundation.mute import Secret

PLAIN, PLUS = b"SCRAM-SHA-256", b"SCRAM-SHA-256-PLUS"
ITERATIONS_MAX = 1_000_000
_WEAK = ("md5", "sha1")
"""In whose place RFC 5929 section 4.1 has SHA-256."""


class ScramRefused(Exception):
    """The server does not hold this exchange's other half."""


class Binding(NamedTuple):
    """How an exchange is tied to the channel that it goes through. `header`: GS2's, which says whether it is, or could have been."""

    mechanism: bytes = PLAIN
    header: bytes = b"n,,"
    data: bytes = b""


UNBOUND = Binding()


def bound(offered: Container[bytes], end_point: bytes | None, *, must: bool = False) -> Binding:
    """`end_point`: of the certificate that the server showed inside TLS; None outside of it, or where a certificate has none. A server that
    offers no binding there is told that it could have been: one that did offer it then knows that somebody took the offer away. `must`:
    nothing else keeps somebody in between out, who may have reached the server outside of TLS, where it offers none.

    Raises ScramRefused."""
    if end_point is not None and PLUS in offered:
        return Binding(PLUS, b"p=tls-server-end-point,,", end_point)
    if must:
        raise ScramRefused(
            "the shard offers no channel binding, and nobody verified its certificate: sslmode=verify-full does"
        )
    if PLAIN not in offered:
        raise ScramRefused("the shard offers no SCRAM-SHA-256")
    return UNBOUND if end_point is None else Binding(header=b"y,,")


def end_point(certificate: bytes) -> bytes | None:
    """`tls-server-end-point` of a certificate (DER): its hash by the algorithm of its signature; None where that has none (Ed25519)."""
    try:
        signed_by = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
        if signed_by is None:
            return None
        return hashlib.new("sha256" if signed_by.name in _WEAK else signed_by.name, certificate).digest()
    except (ValueError, UnsupportedAlgorithm):
        return None


class Scram:
    """One exchange: `first`, `final`, `verify`. Postgres takes the user from the startup packet, not from here. `password`: ASCII, for
    which SASLprep changes nothing."""

    def __init__(self, password: Secret[str], nonce: str, user: str = "", binding: Binding = UNBOUND) -> None:
        """Raises ScramRefused for another password."""
        if not password.reveal().isascii():
            raise ScramRefused("the password of a role is ASCII here")
        self._password = password
        self._binding = binding
        self._nonce = nonce.encode()
        self._bare = b"n=" + user.encode() + b",r=" + self._nonce
        self._expected = b""

    def first(self) -> bytes:
        return self._binding.header + self._bare

    def final(self, challenge: bytes) -> bytes:
        """Raises ScramRefused."""
        nonce, salt, iterations = _challenge(challenge)
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise ScramRefused("the server's nonce does not go on from ours")
        salted = hashlib.pbkdf2_hmac("sha256", self._password.reveal().encode(), salt, iterations)
        client_key = _mac(salted, b"Client Key")
        channel = base64.b64encode(self._binding.header + self._binding.data)
        without_proof = b"c=" + channel + b",r=" + nonce
        exchange = b",".join((self._bare, challenge, without_proof))
        signature = _mac(hashlib.sha256(client_key).digest(), exchange)
        proof = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
        self._expected = _mac(_mac(salted, b"Server Key"), exchange)
        return without_proof + b",p=" + base64.b64encode(proof)

    def verify(self, last: bytes) -> None:
        """The server knows the password, too. Raises ScramRefused."""
        expected = b"v=" + base64.b64encode(self._expected)
        if not self._expected or not hmac.compare_digest(last, expected):
            raise ScramRefused("the server does not prove that it knows the password")


def _challenge(message: bytes) -> tuple[bytes, bytes, int]:
    """Nonce, salt and iterations of a server-first-message. Raises ScramRefused."""
    parts = dict(part.partition(b"=")[::2] for part in message.split(b","))
    try:
        found = parts[b"r"], base64.b64decode(parts[b"s"], validate=True), int(parts[b"i"])
    except (KeyError, ValueError, binascii.Error) as exc:
        raise ScramRefused("no challenge of SCRAM") from exc
    if not 1 <= found[2] <= ITERATIONS_MAX or b"m" in parts:
        raise ScramRefused("a challenge beyond what is met here")
    return found


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")
