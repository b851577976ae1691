"""Properties of foundation's pure parts."""

import asyncio
import base64
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.blinding import Blinder, BlindingKey
from foundation.clock import ManualClock
from foundation.mute import Secret
from foundation.tasks import Backoff
from foundation.tokens import Jwks, TokenRefused, TokenVerifier
from foundation.words import MalformedWord, mint_subject_id, parse_lookup_key, parse_slug, parse_subject_id

KEY = BlindingKey("k1", Secret(b"b" * 32))
NEXT = BlindingKey("k2", Secret(b"c" * 32))
texts = st.text(st.characters(), max_size=12)
parts = st.tuples(texts, texts, texts)


@given(parts, parts)
@settings(deadline=None)
def test_no_two_triples_share_a_lookup_key(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    blinder = Blinder((KEY,))
    assert (blinder.blind(*one) == blinder.blind(*other)) == (one == other)


@given(texts, texts, st.integers(0, 12))
@settings(deadline=None)
def test_moving_the_border_between_parts_changes_the_lookup_key(one: str, other: str, cut: int) -> None:
    """The encoding is injective: the same characters, cut elsewhere, are another triple."""
    joined = one + other
    moved = (joined[:cut], joined[cut:], "x")
    if moved != (one, other, "x"):
        assert Blinder((KEY,)).blind(one, other, "x") != Blinder((KEY,)).blind(*moved)


@given(parts)
@settings(deadline=None)
def test_lookup_keys_are_well_formed_and_one_per_live_key(triple: tuple[str, str, str]) -> None:
    newest, older = Blinder((NEXT, KEY)).blind(*triple)
    assert older == Blinder((KEY,)).blind(*triple)[0]
    assert newest != older
    assert parse_lookup_key(newest) == newest


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_names = st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"])
_heads = st.dictionaries(_names, json_values | st.sampled_from(["ES256", "RS256", "k"]))
_claims = st.dictionaries(st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub"]), json_values | st.just("issuer"))


@given(_heads, _claims, st.binary(max_size=70))
@settings(max_examples=300, deadline=None)
def test_no_unsigned_token_passes_or_breaks_the_verifier(
    head: dict[str, object], claims: dict[str, object], signature: bytes
) -> None:
    async def keys() -> bytes:
        return b'{"keys": []}'

    clock = ManualClock()
    verifier = TokenVerifier({"issuer": ("product", Jwks(keys, clock))}, clock)
    token = ".".join(
        base64.urlsafe_b64encode(part).decode().rstrip("=")
        for part in (json.dumps(head).encode(), json.dumps(claims).encode(), signature)
    )
    try:
        asyncio.run(verifier.verify(token))
    except TokenRefused:
        return
    raise AssertionError("a token of nobody passed")


@given(st.text(max_size=50))
def test_what_is_parsed_as_a_word_is_one(text: str) -> None:
    for parse in (parse_subject_id, lambda one: parse_slug(one, "cell")):
        try:
            parsed = parse(text)
        except MalformedWord:
            continue
        assert parse(parsed) == parsed
        assert parsed.isascii()


def test_minted_subject_ids_are_subject_ids() -> None:
    minted = {mint_subject_id() for _ in range(1000)}
    assert len(minted) == 1000
    assert all(parse_subject_id(one) == one for one in minted)


@given(st.floats(0.001, 1), st.floats(1, 10), st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=50))
def test_a_backoff_waits_between_half_of_a_growing_bound_and_it_and_starts_over(
    first_s: float, max_s: float, draws: list[float]
) -> None:
    left = iter((*draws, 0.0))
    backoff = Backoff(first_s=first_s, max_s=max_s, chance=lambda: next(left))
    for number, draw in enumerate(draws):
        assert backoff.next_s() == min(first_s * 2**number, max_s) * (1 + draw) / 2
    backoff.reset()
    assert backoff.next_s() == first_s / 2
