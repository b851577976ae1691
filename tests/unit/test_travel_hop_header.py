"""What a hop's verifier lets through: a peer's hop to this region, for this request, now; and no nonce twice."""

import base64
import hmac

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.clock import SKEW_S_MAX
from foundation.hop_header import (
    HEADER_BYTES_MAX,
    LIFETIME_S_MAX,
    Hop,
    HopMinter,
    HopRefused,
    HopVerifier,
    digest_of,
    direction_key,
    new_nonce,
)
from foundation.mute import Secret
from foundation.words import Country, RegionId, RulesDigest
from gateway.travel.nonces import Nonces, Told

EU, US, IN = RegionId("eu"), RegionId("us"), RegionId("in")
RING = (("h1", Secret(b"h" * 32)),)
OTHER_RING = (("h1", Secret(b"o" * 32)),)
NOW = 1_800_000_000.0
TARGET, TOKEN = digest_of(b"/orders/1?x=2"), digest_of(b"token")
MADE = Hop(
    origin=US, to=EU, method="GET", target=TARGET, token=TOKEN, scheme="https", host="us.example.com", country=Country("US"),
    client="192.0.2.1", nonce=new_nonce(), expires=NOW + 5, trace="00-" + "a" * 32 + "-" + "b" * 16 + "-00",
    rules=RulesDigest("sha256:" + "0" * 64),
)  # fmt: skip
HEADER = HopMinter(US, EU, RING).mint(MADE)
HOME = HopVerifier(EU, {US: RING, IN: OTHER_RING})


def verify(header: str, *, by: HopVerifier = HOME, now: float = NOW, **request: str) -> Hop:
    return by.verify(header, now, **({"method": "GET", "target": TARGET, "token": TOKEN} | request))


def refusal(header: str, **more: object) -> str:
    with pytest.raises(HopRefused) as caught:
        verify(header, **more)  # type: ignore[arg-type]
    return caught.value.reason


def minted(**changes: object) -> str:
    return HopMinter(US, EU, RING).mint(msgspec.structs.replace(MADE, **changes))


def test_the_home_region_reads_what_the_peer_minted() -> None:
    assert verify(HEADER) == MADE


def test_every_changed_shortened_or_lengthened_header_is_refused() -> None:
    for index, old in enumerate(HEADER):
        for new in {"A", "B", ".", "=", "\x00", "é"} - {old}:
            refusal(HEADER[:index] + new + HEADER[index + 1 :])
        refusal(HEADER[:index])
        refusal(HEADER[:index] + HEADER[index + 1 :])
    for more in ("=", "A", ".", " "):
        refusal(HEADER + more)
    assert refusal(HEADER + "A" * HEADER_BYTES_MAX) == "shape"


def test_a_hop_holds_for_its_method_target_and_token_only() -> None:
    assert refusal(HEADER, method="DELETE") == "other"
    assert refusal(HEADER, target=digest_of(b"/orders/2")) == "other"
    assert refusal(HEADER, token=digest_of(b"another")) == "other"


def test_a_hop_that_came_is_none_that_can_be_sent_back_or_on() -> None:
    assert refusal(HEADER, by=HopVerifier(US, {EU: RING})) == "mac"
    assert refusal(HEADER, by=HopVerifier(IN, {US: RING})) == "mac"
    with pytest.raises(ValueError, match="from us to eu"):
        HopMinter(US, EU, RING).mint(msgspec.structs.replace(MADE, to=IN))


def test_a_peer_cannot_speak_for_another() -> None:
    """India's gateways hold a ring with ours too; a hop of theirs that says it is from the US is not believed."""
    key = direction_key(OTHER_RING[0][1].reveal(), IN, EU)
    assert refusal(signed(msgspec.json.encode(MADE), key)) == "direction"


def test_an_unknown_kid_is_refused_and_both_live_generations_pass() -> None:
    newer = (("h2", Secret(b"n" * 32)), *RING)
    header = HopMinter(US, EU, newer).mint(MADE)
    assert refusal(header) == "kid"
    both = HopVerifier(EU, {US: newer})
    assert verify(header, by=both) == verify(HEADER, by=both) == MADE


def test_a_hop_lives_five_seconds_and_no_longer() -> None:
    assert verify(HEADER, now=NOW + 4.9)
    assert refusal(HEADER, now=NOW + 5) == "expired"
    assert verify(minted(expires=NOW + LIFETIME_S_MAX + SKEW_S_MAX))
    assert refusal(minted(expires=NOW + LIFETIME_S_MAX + SKEW_S_MAX + 1)) == "expired"


def signed(payload: bytes, key: bytes) -> str:
    head = b"v1.h1." + base64.urlsafe_b64encode(payload).rstrip(b"=")
    return (head + b"." + base64.urlsafe_b64encode(hmac.digest(key, head, "sha256")).rstrip(b"=")).decode()


def test_a_payload_that_is_no_hop_is_refused_even_with_a_good_mac() -> None:
    key = direction_key(RING[0][1].reveal(), US, EU)
    good = msgspec.json.encode(MADE)
    assert verify(signed(good, key)) == MADE
    more = good[:-1] + b',"extra":1}'
    short = msgspec.json.encode(msgspec.structs.replace(MADE, nonce="x"))
    for payload in (b"", b"null", b"{}", b"\xff", more, short, b"[" * 2000):
        assert refusal(signed(payload, key)) == "shape"


def test_a_header_that_would_be_too_long_is_not_minted() -> None:
    with pytest.raises(ValueError, match="at most"):
        minted(method="G" * HEADER_BYTES_MAX)


@given(st.text(max_size=300))
def test_no_text_passes_or_breaks_the_verifier(text: str) -> None:
    refusal(text)
    refusal("v1.h1." + text)


# --- nonces ------------------------------------------------------------------------------------------------------------------


def test_a_nonce_passes_once_per_direction() -> None:
    nonces = Nonces()
    assert nonces.tell(US, "n", NOW + 5, NOW) is Told.NEW
    assert nonces.tell(US, "n", NOW + 5, NOW) is Told.SEEN
    assert nonces.tell(IN, "n", NOW + 5, NOW) is Told.NEW


def test_a_full_memory_refuses_and_never_forgets_early() -> None:
    nonces = Nonces(nonces_max=2)
    assert [nonces.tell(US, name, NOW + 5, NOW) for name in "abc"] == [Told.NEW, Told.NEW, Told.FULL]
    assert nonces.tell(IN, "a", NOW + 5, NOW) is Told.NEW, "one direction does not fill another"
    late = NOW + 5 + SKEW_S_MAX
    assert nonces.tell(US, "c", late + 5, late) is Told.FULL
    assert nonces.tell(US, "a", NOW + 5, late) is Told.SEEN
    assert nonces.tell(US, "c", late + 6, late + 0.1) is Told.NEW


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 7), st.floats(0, 2)), max_size=60))
def test_no_nonce_passes_twice_while_its_hop_could(steps: list[tuple[int, float, float]]) -> None:
    nonces, now, passed = Nonces(nonces_max=8), NOW, {}
    for number, life, pause in steps:
        now += pause
        expires = passed.get(number, now + life)
        told = nonces.tell(US, str(number), expires, now)
        if told is Told.NEW:
            assert now > passed.get(number, 0) + SKEW_S_MAX or number not in passed
            passed[number] = expires
        assert len(nonces) <= 8
