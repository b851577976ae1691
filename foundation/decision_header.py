"""`Domicile-Decision`: what a gateway decided, in a form that only the decided service and its cell can check.

`v1.<kid>.<payload>.<mac-service>.<mac-cell>`; payload is base64url JSON (`Decision`), the MACs are HMAC-SHA-256 (RFC 2104) over
`v1.<kid>.<payload>`, base64url without padding. Keys: region root → cell root → one key per service and one for the cell itself, each
step `HMAC(parent, label)`. A service holds only its own key, so it could forge only to itself; the cell's key lies with the gateways
of the region and the cell service.

Rules that `ServiceVerifier` and `CellVerifier` enforce, in this order: shape, known kid, MAC, audience, expiry. Each raises
`DecisionRefused`; there is no result to ignore.
"""

import binascii
import hmac
import struct
from typing import Final

import msgspec

from foundation.clock import SKEW_S_MAX
from foundation.decision import Decision, RootKey
from foundation.drawn import URL_SAFE, Names, base64_digits, url_safe
from foundation.mac import Mac, Macs
from foundation.mute import Secret
from foundation.words import CellId, ServiceId

HEADER: Final = "domicile-decision"
LIFETIME_S_MAX = 30.0
HEADER_BYTES_MAX: Final = 4096
ID_DIGITS: Final = 16
_VERSION: Final = "v1"
_VERSION_SENT: Final = _VERSION.encode("ascii")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


class DecisionRefused(Exception):
    """The header does not hold. `reason` is one of: shape, kid, mac, audience, expired."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"decision refused: {reason}")
        self.reason = reason


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Decision)


def derive(parent: bytes, label: str) -> bytes:
    """One step down the key tree: HMAC-SHA-256(parent, label)."""
    return hmac.digest(parent, label.encode(), "sha256")


def cell_root(region_root: bytes, cell: CellId) -> bytes:
    return derive(region_root, f"domicile/cell-root/{cell}")


def service_key(cell_root_key: bytes, service: ServiceId) -> bytes:
    return derive(cell_root_key, f"domicile/service/{service}")


def cell_key(cell_root_key: bytes) -> bytes:
    return derive(cell_root_key, "domicile/cell")


def new_decision_id() -> str:
    return base64_digits(ID_DIGITS)


_VARYING: Final = b',"expires":0.0,"id":""}'
_ID: Final = b'  ,"id":"%b"}'
"""With a whole number of groups."""


def claims_of(decision: Decision) -> bytes:
    """What a decision states, but for its expiry and id, as it stands in a header, for `Minter.sign`. Raises ValueError for a sign-up's,
    which is not repeated."""
    encoded = _encoder.encode(msgspec.structs.replace(decision, expires=0.0, id=""))
    if not encoded.endswith(_VARYING):
        raise ValueError("a decision to sign up is made for one request")
    return _apart(encoded.removesuffix(_VARYING))


def _apart(text: bytes) -> bytes:
    """A part of a JSON text in base64url, to be put before others: spaces, which mean nothing there, make it whole groups of three
    bytes, so that each part can be written by itself (RFC 4648 section 4)."""
    return url_safe(text.ljust(-(-len(text) // 3) * 3))


def _ids(raw: bytes) -> tuple[bytes, ...]:
    """Ids as they stand at the end of decisions."""
    digits = url_safe(raw)
    count = len(digits) // ID_DIGITS
    written = url_safe(_ID * count % struct.unpack(f"{ID_DIGITS}s" * count, digits))
    return struct.unpack(f"{_LAST_PART_CHARS}s" * count, written)


_LAST_PART_CHARS: Final = 36
_LAST_PARTS: Final = Names(_ids)
_MAC_CHARS: Final = 43


class Minter:
    """Signs decisions for the services of one cell. Held by gateways (from the region root) and the cell service."""

    def __init__(self, cell: CellId, root: RootKey) -> None:
        """`root` is the cell's root key (`cell_root(region_root, cell)`)."""
        self._cell = cell
        self._prefix = f"{_VERSION}.{root.kid}.".encode()
        self._root = root.key.reveal()
        self._macs: dict[ServiceId, Macs] = {}
        self._expires_tenths = -1
        self._expires = b""
        """Those tenths of a second, written as they stand in a header."""

    def mint(self, decision: Decision) -> str:
        """The header's value, ASCII, a few hundred bytes."""
        if decision.cell != self._cell:
            raise ValueError(f"this minter signs for cell {self._cell} only")
        return self._signed(decision.service, self._prefix + url_safe(_encoder.encode(decision))).decode("ascii")

    def sign(self, service: ServiceId, claims: bytes, expires: float) -> bytes:
        """The header's value for `claims_of` a decision of this cell and for `service`, under an id of its own; it `expires` up to a tenth
        of a second earlier."""
        tenths = int(expires * 10)
        if tenths != self._expires_tenths:
            self._expires_tenths = tenths
            self._expires = _apart(b',"expires":%.1f' % (tenths / 10))
        signed = b"".join((self._prefix, claims, self._expires, _LAST_PARTS.take()))
        return self._signed(service, signed)

    def _signed(self, service: ServiceId, signed: bytes) -> bytes:
        macs = self._macs.get(service)
        if macs is None:
            macs = self._macs[service] = Macs(service_key(self._root, service), cell_key(self._root))
        # With a line's end: to say that it has none takes longer.
        both = binascii.b2a_base64(macs.digests(signed)).translate(URL_SAFE)
        return b".".join((signed, both[:_MAC_CHARS], both[_MAC_CHARS + 1 : -2]))


class ServiceVerifier:
    """What a guard holds: this service's key in each live generation, by kid."""

    def __init__(self, cell: CellId, service: ServiceId, keys: dict[str, Secret[bytes]]) -> None:
        self._cell = cell
        self._service = service
        self._macs = {kid: Mac(key.reveal()) for kid, key in keys.items()}

    def verify(self, header: str, now_unix_s: float) -> Decision:
        """The decision if it was made for this service and has not run out. Raises DecisionRefused."""
        signed, kid, payload, mac_service, _ = _split(_sent(header))
        mac = self._macs.get(kid)
        if mac is None:
            raise DecisionRefused("kid")
        _check_mac(mac, signed, mac_service)
        decision = _decode(payload)
        if decision.cell != self._cell or decision.service != self._service:
            raise DecisionRefused("audience")
        return _check_expiry(decision, now_unix_s)


class CellVerifier:
    """What the cell service holds: the cell's key in each live generation, by kid. Checks the second MAC."""

    def __init__(self, cell: CellId, roots: tuple[RootKey, ...]) -> None:
        """`roots` are the cell's root keys."""
        self._cell = cell
        self._macs = {root.kid: Mac(cell_key(root.key.reveal())) for root in roots}

    def verify(self, header: str, now_unix_s: float, *, service: ServiceId) -> Decision:
        """The decision if its audience is `service` of this cell: the service whose credential makes the call. Raises DecisionRefused."""
        return self.verify_sent(_sent(header), now_unix_s, service=service)

    def verify_sent(self, header: bytes, now_unix_s: float, *, service: ServiceId) -> Decision:
        """The same of a header's value as it came."""
        signed, kid, payload, _, mac_cell = _split(header)
        mac = self._macs.get(kid)
        if mac is None:
            raise DecisionRefused("kid")
        _check_mac(mac, signed, mac_cell)
        decision = _decode(payload)
        if decision.cell != self._cell or decision.service != service:
            raise DecisionRefused("audience")
        return _check_expiry(decision, now_unix_s)


def _sent(header: str) -> bytes:
    if not header.isascii():
        raise DecisionRefused("shape")
    return header.encode("ascii")


def _split(sent: bytes) -> tuple[bytes, str, bytes, bytes, bytes]:
    if len(sent) > HEADER_BYTES_MAX or not sent.isascii():
        raise DecisionRefused("shape")
    parts = sent.split(b".")
    if len(parts) != 5 or parts[0] != _VERSION_SENT:
        raise DecisionRefused("shape")
    _, kid, payload, mac_service, mac_cell = parts
    signed = sent[: -len(mac_service) - len(mac_cell) - 2]
    return signed, kid.decode("ascii"), payload, mac_service, mac_cell


def _check_mac(key: Mac, signed: bytes, mac: bytes) -> None:
    if not hmac.compare_digest(url_safe(key.digest(signed)), mac):
        raise DecisionRefused("mac")


def _decode(payload: bytes) -> Decision:
    try:
        return _decoder.decode(binascii.a2b_base64(payload.translate(_STANDARD) + b"=" * (-len(payload) % 4)))
    except (msgspec.MsgspecError, binascii.Error, UnicodeDecodeError, RecursionError) as exc:
        raise DecisionRefused("shape") from exc


def _check_expiry(decision: Decision, now_unix_s: float) -> Decision:
    if not now_unix_s < decision.expires <= now_unix_s + LIFETIME_S_MAX + SKEW_S_MAX:
        raise DecisionRefused("expired")
    return decision
