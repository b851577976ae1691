"""SCRAM-SHA-256 (RFC 5802, RFC 7677) as a client, without channel binding. Pure: the nonce is an argument."""

import base64
import binascii
import hashlib
import hmac

from foundation.mute import Secret

MECHANISM = b"SCRAM-SHA-256"
ITERATIONS_MAX = 1_000_000
_HEADER = b"n,,"


class ScramRefused(Exception):
    """The server does not hold this exchange's other half."""


class Scram:
    """One exchange: `first`, `final`, `verify`. Postgres takes the user from the startup packet, not from here. `password`: ASCII, for
    which SASLprep changes nothing."""

    def __init__(self, password: Secret[str], nonce: str, user: str = "") -> None:
        """Raises ScramRefused for another password."""
        if not password.reveal().isascii():
            raise ScramRefused("the password of a role is ASCII here")
        self._password = password
        self._nonce = nonce.encode()
        self._bare = b"n=" + user.encode() + b",r=" + self._nonce
        self._expected = b""

    def first(self) -> bytes:
        return _HEADER + self._bare

    def final(self, challenge: bytes) -> bytes:
        """Raises ScramRefused."""
        nonce, salt, iterations = _challenge(challenge)
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise ScramRefused("the server's nonce does not go on from ours")
        salted = hashlib.pbkdf2_hmac("sha256", self._password.reveal().encode(), salt, iterations)
        client_key = _mac(salted, b"Client Key")
        without_proof = b"c=" + base64.b64encode(_HEADER) + b",r=" + nonce
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
