"""`Domicile-Hop`: by it the gateways of one region know a request that those of another carry home for a person who is away.

`v1.<kid>.<payload>.<mac>`; payload is base64url JSON (`Hop`), the MAC is HMAC-SHA-256 (RFC 2104) over `v1.<kid>.<payload>`, base64url
without padding. Two regions share a keyring; each direction has a key of its own, `HMAC(ring key, label of from and to)`, so a hop that
came is none that can be sent back. Nobody outside the two regions holds the ring.

Rules that `HopVerifier` enforces, in this order: shape, known kid, MAC (of one of the peers, towards this region), the direction that the
payload states, expiry, and that method, target and token are those that came with it. Each raises `HopRefused`; there is no result to
ignore. That a nonce is new is the receiver's to remember (`gateway.travel.nonces`). What a peer states of its client goes into the head of
a request at home, so the shape holds it to texts that cannot end a header field: a peer vouches for its travellers and for nothing else.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from foundation.clock import SKEW_S_MAX
from foundation.decision_header import derive
from foundation.mute import Secret
from foundation.words import Country, RegionId, RulesDigest

HEADER = "domicile-hop"
LIFETIME_S_MAX = 5.0
HEADER_BYTES_MAX = 4096
HOST_CHARS_MAX = 255
SCHEME_CHARS_MAX = 64
"""A proxy's `X-Forwarded-Proto` goes home as it came."""
_VERSION = "v1"

_FIELD = r"^[\t\x20-\x7e\x80-\xff]*\Z"
"""What a header field may hold (RFC 9110 section 5.5), as latin-1."""
_DIGEST = Meta(pattern=r"^[A-Za-z0-9_-]{43}\Z")
_ADDRESS = Meta(pattern=r"^[0-9A-Fa-f.:]{2,45}\Z")

Ring = tuple[tuple[str, Secret[bytes]], ...]
"""(kid, key) pairs that two regions share, the one that signs first."""


class Hop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"origin": "from"}):
    """One request on its way home. `client` is the one thing in it that may be personal; it never enters a record.

    `target`, `token`: SHA-256 of the raw path with query, and of the bearer token (`digest_of`). `host`, `scheme`: what the client
    asked. `country`: where its address was observed. `nonce`: 128 random bits. `expires`: unix seconds. `trace`: a traceparent.
    """

    origin: RegionId
    to: RegionId
    method: str
    target: Annotated[str, _DIGEST]
    token: Annotated[str, _DIGEST]
    scheme: Annotated[str, Meta(max_length=SCHEME_CHARS_MAX, pattern=_FIELD)]
    host: Annotated[str, Meta(max_length=HOST_CHARS_MAX, pattern=_FIELD)]
    country: Annotated[Country, Meta(pattern=r"^[A-Z]{2}\Z")] | None
    client: Annotated[str, _ADDRESS] | None
    nonce: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{22}\Z")]
    expires: float
    trace: Annotated[str, Meta(max_length=64, pattern=_FIELD)]
    rules: RulesDigest


class HopRefused(Exception):
    """The header does not hold. `reason` is one of: shape, kid, mac, direction, expired, other (method, target or token)."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"hop refused: {reason}")
        self.reason = reason


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Hop)


def digest_of(raw: bytes) -> str:
    """SHA-256, base64url."""
    return _b64(hashlib.sha256(raw).digest()).decode("ascii")


def new_nonce() -> str:
    return _b64(secrets.token_bytes(16)).decode("ascii")


def direction_key(ring_key: bytes, origin: RegionId, to: RegionId) -> bytes:
    """Region ids are slugs, so no two directions share a label."""
    return derive(ring_key, f"domicile/hop/{origin}/{to}")


class HopMinter:
    """Signs hops from one region to another."""

    def __init__(self, origin: RegionId, to: RegionId, ring: Ring) -> None:
        self._origin = origin
        self._to = to
        self._kid = ring[0][0]
        self._key = direction_key(ring[0][1].reveal(), origin, to)

    def mint(self, hop: Hop) -> str:
        """The header's value, ASCII. Raises ValueError for another direction, or for a header that would be too long."""
        if hop.origin != self._origin or hop.to != self._to:
            raise ValueError(f"this minter signs from {self._origin} to {self._to} only")
        signed = f"{_VERSION}.{self._kid}.".encode() + _b64(_encoder.encode(hop))
        header = b".".join((signed, _b64(hmac.digest(self._key, signed, "sha256")))).decode("ascii")
        if len(header) > HEADER_BYTES_MAX:
            raise ValueError(f"a hop header is at most {HEADER_BYTES_MAX} bytes long")
        return header


class HopVerifier:
    """What the gateways of a region hold: for each peer, the key of its direction in each live generation."""

    def __init__(self, here: RegionId, rings: Mapping[RegionId, Ring]) -> None:
        self._here = here
        self._keys: dict[str, list[tuple[RegionId, bytes]]] = {}
        for peer, ring in rings.items():
            for kid, key in ring:
                self._keys.setdefault(kid, []).append((peer, direction_key(key.reveal(), peer, here)))

    def verify(self, header: str, now_unix_s: float, *, method: str, target: str, token: str) -> Hop:
        """The hop, if a peer signed it for this request to this region and it has not run out. `target` and `token` are digests.

        Raises HopRefused.
        """
        parts = header.split(".")
        if len(header) > HEADER_BYTES_MAX or len(parts) != 4 or parts[0] != _VERSION or not header.isascii():
            raise HopRefused("shape")
        _, kid, payload, mac = parts
        peer = self._signer(kid, f"{_VERSION}.{kid}.{payload}".encode(), mac.encode())
        hop = _decode(payload)
        if hop.origin != peer or hop.to != self._here:
            raise HopRefused("direction")
        if not now_unix_s < hop.expires <= now_unix_s + LIFETIME_S_MAX + SKEW_S_MAX:
            raise HopRefused("expired")
        if hop.method != method or not _same(hop.target, target) or not _same(hop.token, token):
            raise HopRefused("other")
        return hop

    def _signer(self, kid: str, signed: bytes, mac: bytes) -> RegionId:
        """The peer whose key made the MAC; every candidate is compared, whichever fits."""
        candidates = self._keys.get(kid)
        if candidates is None:
            raise HopRefused("kid")
        found: RegionId | None = None
        for peer, key in candidates:
            if hmac.compare_digest(_b64(hmac.digest(key, signed, "sha256")), mac):
                found = peer
        if found is None:
            raise HopRefused("mac")
        return found


def _decode(payload: str) -> Hop:
    try:
        return _decoder.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (msgspec.MsgspecError, binascii.Error, UnicodeDecodeError, RecursionError) as exc:
        raise HopRefused("shape") from exc


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _b64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
