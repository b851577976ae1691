"""What a decision header's verifiers let through: nothing but what was minted for them, now."""

import base64
import hmac
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.decision import Decision, RootKey
from foundation.decision_header import (
    HEADER_BYTES_MAX,
    LIFETIME_S_MAX,
    CellVerifier,
    DecisionRefused,
    Minter,
    ServiceVerifier,
    cell_key,
    cell_root,
    claims_of,
    service_key,
)
from foundation.mute import Secret
from foundation.words import ActorId, CellId, Country, Epoch, RulesDigest, ServiceId, SubjectId, Verb

CELL, OTHER_CELL = CellId("eu-de"), CellId("us-va")
ORDERS, WARES, RECORDS = ServiceId("orders"), ServiceId("wares"), ServiceId("records")
REGION = b"r" * 32
ROOT = RootKey("k1", Secret(cell_root(REGION, CELL)))
NOW = 1_800_000_000.0
MADE = Decision(
    cell=CELL, service=ORDERS, subject=SubjectId("0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77"), actor=ActorId("a"), epoch=Epoch(5),
    verb=Verb.WRITE, purpose="service", rules=RulesDigest("sha256:" + "0" * 64), expires=NOW + 15, id="x",
)  # fmt: skip


def key_of(service: ServiceId, root: RootKey = ROOT) -> dict[str, Secret[bytes]]:
    return {root.kid: Secret(service_key(root.key.reveal(), service))}


GUARD = ServiceVerifier(CELL, ORDERS, key_of(ORDERS))
CELL_SERVICE = CellVerifier(CELL, (ROOT,))
HEADER = Minter(CELL, ROOT).mint(MADE)


def refusal(call: object, *args: object, **kwargs: object) -> str:
    with pytest.raises(DecisionRefused) as caught:
        call(*args, **kwargs)  # type: ignore[operator]
    return caught.value.reason


def minted(**changes: object) -> str:
    return Minter(CELL, ROOT).mint(msgspec.structs.replace(MADE, **changes))


def test_both_verifiers_read_what_was_minted() -> None:
    assert GUARD.verify(HEADER, NOW) == MADE
    assert CELL_SERVICE.verify(HEADER, NOW, service=ORDERS) == MADE


@given(st.text(max_size=40), st.floats(NOW, NOW + LIFETIME_S_MAX), st.integers(1, 2**63 - 1))
def test_one_that_is_signed_from_its_claims_says_what_one_that_is_minted_says_and_runs_out_a_moment_earlier_at_most(
    purpose: str, expires: float, epoch: int
) -> None:
    made = msgspec.structs.replace(MADE, purpose=purpose, epoch=Epoch(epoch))
    minter, ids = Minter(CELL, ROOT), set()
    for _ in range(2):
        header = minter.sign(ORDERS, claims_of(made), expires).decode("ascii")
        found = GUARD.verify(header, NOW - 1)
        assert CELL_SERVICE.verify(header, NOW - 1, service=ORDERS) == found
        assert expires - 0.11 <= found.expires <= expires
        assert (len(found.id), found.id.strip()) == (16, found.id)
        assert msgspec.structs.replace(found, expires=made.expires, id=made.id) == made
        ids.add(found.id)
    assert len(ids) == 2


def test_a_header_without_the_members_that_came_later_is_read_and_one_with_none_of_them_does_not_name_them() -> None:
    earlier = [
        "cell", "service", "subject", "actor", "epoch", "verb", "purpose", "rules", "expires", "id", "keys", "residence",
    ]  # fmt: skip
    payload = json.loads(base64.urlsafe_b64decode(HEADER.split(".")[2] + "=="))
    assert set(payload) <= set(earlier)
    signup = minted(residence=Country("US"), subdivision="US-TX", citizenships=(Country("IN"),), observed=Country("FR"))
    decision = GUARD.verify(signup, NOW)
    assert (decision.subdivision, decision.citizenships, decision.observed) == ("US-TX", ("IN",), "FR")
    assert GUARD.verify(minted(citizenships=()), NOW).citizenships == ()


def test_every_changed_character_is_refused() -> None:
    guard_part = HEADER.rsplit(".", 1)[0]
    cell_part = HEADER.split(".")[3]
    for index, old in enumerate(HEADER):
        for new in {"A", "B", ".", "=", "\x00"} - {old}:
            changed = HEADER[:index] + new + HEADER[index + 1 :]
            if index < len(guard_part):
                refusal(GUARD.verify, changed, NOW)
            in_service_mac = len(guard_part) - len(cell_part) <= index < len(guard_part)
            if not in_service_mac or new == ".":
                refusal(CELL_SERVICE.verify, changed, NOW, service=ORDERS)


def test_every_shortened_or_lengthened_header_is_refused() -> None:
    for index in range(len(HEADER)):
        refusal(CELL_SERVICE.verify, HEADER[:index], NOW, service=ORDERS)
        refusal(CELL_SERVICE.verify, HEADER[:index] + HEADER[index + 1 :], NOW, service=WARES)
    for more in ("=", "A", ".", " ", "."):
        refusal(CELL_SERVICE.verify, HEADER + more, NOW, service=ORDERS)
    assert refusal(GUARD.verify, HEADER + "A" * HEADER_BYTES_MAX, NOW) == "shape"
    assert refusal(GUARD.verify, HEADER + "é", NOW) == "shape"


def test_another_audience_is_refused() -> None:
    assert refusal(ServiceVerifier(CELL, ORDERS, key_of(WARES)).verify, HEADER, NOW) == "mac"
    assert refusal(ServiceVerifier(CELL, WARES, key_of(ORDERS)).verify, HEADER, NOW) == "audience"
    assert refusal(ServiceVerifier(OTHER_CELL, ORDERS, key_of(ORDERS)).verify, HEADER, NOW) == "audience"
    assert refusal(CELL_SERVICE.verify, HEADER, NOW, service=RECORDS) == "audience"


def test_a_service_cannot_forge_for_another_or_for_records() -> None:
    """All that a service holds is its own key; a minter built on that makes headers that nobody else believes."""
    own = RootKey("k1", Secret(service_key(ROOT.key.reveal(), ORDERS)))
    forged = Minter(CELL, own).mint(MADE)
    assert refusal(CELL_SERVICE.verify, forged, NOW, service=ORDERS) == "mac"
    assert refusal(ServiceVerifier(CELL, WARES, key_of(WARES)).verify, forged, NOW) == "mac"


def test_a_cells_root_says_nothing_of_another_cell() -> None:
    other = RootKey("k1", Secret(cell_root(REGION, OTHER_CELL)))
    assert refusal(CellVerifier(CELL, (other,)).verify, HEADER, NOW, service=ORDERS) == "mac"
    with pytest.raises(ValueError, match="eu-de"):
        Minter(CELL, ROOT).mint(msgspec.structs.replace(MADE, cell=OTHER_CELL))


def test_an_unknown_kid_is_refused_and_both_live_generations_pass() -> None:
    next_root = RootKey("k2", Secret(b"n" * 32))
    header = Minter(CELL, next_root).mint(MADE)
    assert refusal(GUARD.verify, header, NOW) == "kid"
    both = ServiceVerifier(CELL, ORDERS, key_of(ORDERS) | key_of(ORDERS, next_root))
    assert both.verify(header, NOW) == both.verify(HEADER, NOW) == MADE
    assert CellVerifier(CELL, (next_root, ROOT)).verify(header, NOW, service=ORDERS) == MADE


def test_a_header_holds_until_it_expires_and_no_longer() -> None:
    assert GUARD.verify(HEADER, NOW + 14.9)
    assert refusal(GUARD.verify, HEADER, NOW + 15) == "expired"
    assert refusal(CELL_SERVICE.verify, HEADER, NOW + 15, service=ORDERS) == "expired"


def test_a_life_longer_than_allowed_is_refused() -> None:
    assert GUARD.verify(minted(expires=NOW + LIFETIME_S_MAX + 2), NOW)
    assert refusal(GUARD.verify, minted(expires=NOW + LIFETIME_S_MAX + 3), NOW) == "expired"


def test_a_payload_that_is_no_decision_is_refused_even_with_a_good_mac() -> None:
    def forged(payload: bytes) -> str:
        signed = b"v1.k1." + base64.urlsafe_b64encode(payload).rstrip(b"=")
        keys = (key_of(ORDERS)["k1"].reveal(), cell_key(ROOT.key.reveal()))
        macs = (hmac.digest(key, signed, "sha256") for key in keys)
        return ".".join([signed.decode(), *(base64.urlsafe_b64encode(mac).rstrip(b"=").decode() for mac in macs)])

    assert GUARD.verify(forged(msgspec.json.encode(MADE)), NOW) == MADE
    wrong_verb = msgspec.json.encode(MADE).replace(b'"write"', b'"admin"')
    for payload in (b"", b"null", b"{}", b"\xff", wrong_verb, b"[" * 2000):
        assert refusal(GUARD.verify, forged(payload), NOW) == "shape"
