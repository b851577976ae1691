"""What is found depends on no cut, no seam hides a value, and the work grows with the text, however hostile."""

import base64
import gzip
import os
import random
import sys
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cells.egress.scanner import stream
from cells.egress.scanner.findings import Finding, Kind
from cells.egress.scanner.stream import AHEAD_BYTES, HELD_BYTES_MAX, STEP_BYTES, Stream, scan
from load_tests.bench.egress.clean import clean_logs
from load_tests.bench.egress.corpus import planted
from load_tests.bench.egress.hostile import HOSTILE

CUTS = int(os.environ.get("SCANNER_CUTS", "300"))
"""Ways of cutting that are tried; the deep form takes 100,000."""
PIECES = ["anna@example.org ", "4111 1111 1111 1111,", "%40", "tel 030 123456\n", "né le 3 mai 1980 "]
PIECES += ["YW5uYUBleGFtcGxlLm9yZw==", "\\u0040", "x" * 90, "電話0301234567"]


def wide(plain: bytes) -> bytes:
    """Full-width forms of all of it, spaces too: one run of characters."""
    return "".join("\u3000" if sign == 0x20 else chr(sign + 0xFEE0) for sign in plain).encode()


def streamed(data: bytes, cuts: list[int]) -> list[Finding]:
    scanner, found, at = Stream(), [], 0
    for cut in [*sorted(cuts), len(data)]:
        found += scanner.feed(data[at:cut])
        at = cut
    return found + scanner.finish()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short steps, so that short texts have many seams."""
    monkeypatch.setattr(stream, "STEP_BYTES", 700)
    monkeypatch.setattr(stream, "AHEAD_BYTES", 400)


@pytest.mark.timeout(120 + CUTS // 50)
def test_the_same_is_found_for_every_way_of_cutting(small: None) -> None:
    text = planted(seed=5, rounds=1).text()[:1_800] + clean_logs(5, 400)
    data = text[:900] + b" " + gzip.compress(b"mail anna@example.org") + b" " + text[900:]
    whole, chance = scan(data), random.Random(5)
    assert len(whole) > 10
    for _ in range(CUTS):
        assert streamed(data, chance.choices(range(len(data) + 1), k=chance.randint(0, 40))) == whole


def test_the_cuts_would_show_a_scanner_that_forgets_at_each(small: None) -> None:
    """A planted violation: pieces scanned one by one, as streaming redactors do."""
    data, chance = planted(seed=5, rounds=1).text()[:1_800], random.Random(5)
    whole = {(one.kind, one.start) for one in scan(data)}
    leaks = 0
    for _ in range(20):
        edges = [0, *sorted(chance.choices(range(len(data)), k=20)), len(data)]
        found = {(one.kind, one.start + low) for low, high in pairwise(edges) for one in scan(data[low:high])}
        leaks += not whole <= found
    assert leaks >= 15


@given(pieces=st.lists(st.sampled_from(PIECES), max_size=60), data=st.data())
@settings(deadline=None, max_examples=60)
def test_any_text_in_any_pieces_gives_what_the_whole_gives(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces).encode()
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=12))
    assert streamed(text, cuts) == scan(text)


@given(data=st.binary(max_size=300))
@settings(deadline=None, max_examples=150)
def test_no_bytes_whatever_are_an_error(data: bytes) -> None:
    assert all(0 <= one.start < one.end <= len(data) for one in scan(data))


FRAGMENTS = [
    "ssn ",
    "cpf:",
    "\u212a",
    "\u017fE89 ",
    "DE89",
    "1234",
    "56789",
    "-",
    ".",
    " ",
    "X",
    "AB",
    "born ",
    "card",
    "tel",
    "\U0001f600",
    "&#xD800;",
    "\\ud83d",
]


@given(parts=st.lists(st.sampled_from(FRAGMENTS), max_size=30))
@settings(deadline=None, max_examples=300)
def test_no_mixture_of_words_and_numbers_is_an_error(parts: list[str]) -> None:
    text = "".join(parts).encode()
    assert all(0 <= one.start < one.end <= len(text) for one in scan(text))


def test_a_byte_at_a_time_over_a_real_seam_gives_what_the_whole_gives() -> None:
    data = clean_logs(6, STEP_BYTES + AHEAD_BYTES + 2_000)
    data = data[: STEP_BYTES - 8] + b" anna@example.org " + data[STEP_BYTES + 10 :]
    near = STEP_BYTES + AHEAD_BYTES
    scanner = Stream()
    found = scanner.feed(data[: near - 50])
    for at in range(near - 50, near + 50):
        found += scanner.feed(data[at : at + 1])
    found += scanner.feed(data[near + 50 :]) + scanner.finish()
    assert found == scan(data)
    assert [one.kind for one in found] == [Kind.EMAIL]


@pytest.mark.parametrize(
    "value",
    [
        "anna@mail.example.org",
        "4111 1111 1111 1111",
        "tel. 030 901820",
        "YW5uYUBleGFtcGxlLm9yZw==",
        "%61nna%40example.org",
    ],
)
def test_no_place_around_a_seam_hides_a_value(small: None, value: str) -> None:
    filler = ("lorem ipsum dolor " * 200).encode()
    raw = f" {value} ".encode()
    for at in range(700 - len(raw) - 2, 702):
        data = filler[:at] + raw + filler[at + len(raw) :]
        found = scan(data)
        assert len(found) == 1, (at, found)
        assert at <= found[0].start < found[0].end <= at + len(raw)


@pytest.mark.parametrize("wrap", [base64.encodebytes, base64.b64encode, wide])
def test_a_value_deep_in_a_long_encoding_is_found_in_every_step(wrap: Callable[[bytes], bytes]) -> None:
    """The encoding begins steps before; where its span is told whole, it is told from the step's beginning."""
    filler, value = b"lorem.ipsum.dolor." * 40_000, b" anna@example.org "
    for share in (0.1, 0.5, 0.9):
        at = int(len(filler) * share) // 3 * 3
        data = b"x " + wrap(filler[:at] + value + filler[at:]) + b" y"
        place = int(len(data) * share)
        told = [one for one in scan(data) if one.kind is Kind.EMAIL]
        assert any(one.start <= place + 60 and one.end >= place - 60 for one in told), (share, told)


def test_what_is_settled_is_never_told_of_later() -> None:
    data = (planted(seed=9, rounds=1).text() + clean_logs(9, 150_000)) * 3
    scanner, at, chance = Stream(), 0, random.Random(9)
    while at < len(data):
        before = scanner.settled
        size = chance.randint(1, 40_000)
        for one in scanner.feed(data[at : at + size]):
            assert before <= one.start < scanner.settled
        at = min(len(data), at + size)
        assert at - scanner.settled < STEP_BYTES + AHEAD_BYTES
        assert len(scanner._held) <= HELD_BYTES_MAX + size


def work(data: bytes) -> int:
    """Calls of functions, the interpreter's and others', that a scan takes: nothing of the clock is in it."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        scan(data)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("kind", HOSTILE)
def test_twice_the_hostile_text_is_no_more_than_twice_the_work(kind: str) -> None:
    make = HOSTILE[kind]
    scan(make(2_000))
    small, large = work(make(4_000)), work(make(16_000))
    assert large <= 4 * small * 1.3 + 2_000, (small, large)
