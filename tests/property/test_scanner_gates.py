"""Gates only spare work: what they let through is all that is found where every pattern is searched for everywhere."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cells.egress.scanner import core
from cells.egress.scanner.findings import Hit
from load_tests.bench.egress.clean import clean_logs
from load_tests.bench.egress.corpus import planted
from load_tests.bench.egress.hostile import HOSTILE

SIGNS = ["@", "a", "b@", ".", "de", "。", "ü", "日本", "xn--p1ai", "[", "1.2.3.4", "]", " ", "\n", "\v", ":", "://", "http", "s3cret"]
SIGNS += ['"', "'", "<", "/", "?", "%", "-", "eyJ", "x" * 40, "anna@example.org", "ftp://a:b@c", "phone 030 123456", "4111 1111 1111 1111"]
SIGNS += ["AKIA", "sk_live_", "-----BEGIN PRIVATE KEY-----", "52.52000, 13.40500", "lat: 52.52 lon: 13.40", "né le 3 mai 1980"]
HOSTILE_BYTES = 3_000


def everywhere(data: bytes) -> Iterator[Hit]:
    """As without gates."""
    for gate in core.gates():
        ends = [0] * len(gate.finders)
        for low in range(0, len(data), core.SLICE_BYTES):
            for at, (finder, confirm) in enumerate(gate.finders):
                for start, end in core._found(finder, data, max(low, ends[at]), low + core.SLICE_BYTES):
                    ends[at] = end
                    yield from confirm(data, start, end)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(SIGNS), max_size=60), st.booleans())
def test_no_gate_keeps_anything_back(signs: list[str], cut: bool) -> None:
    data = "".join(signs).encode()[1 if cut else 0 :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "SLICE_BYTES", 64)
        assert sorted(core._hits(data)) == sorted(everywhere(data))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["anna@example.org", "a://b:c@d", "a@[10.0.0.1]"]))
def test_nor_among_bytes_of_chance(around: bytes, value: str) -> None:
    data = around + value.encode() + around
    assert sorted(core._hits(data)) == sorted(everywhere(data))


@pytest.mark.parametrize("kind", HOSTILE)
def test_nor_of_hostile_text(kind: str) -> None:
    data = HOSTILE[kind](HOSTILE_BYTES)
    assert sorted(core._hits(data)) == sorted(everywhere(data))


def test_nor_of_logs_and_prose() -> None:
    data = planted(seed=11, rounds=1).text()[:60_000] + clean_logs(11, 60_000)
    found = sorted(core._hits(data))
    assert found == sorted(everywhere(data))
    assert len({kind for kind, *_ in found}) > 8
