"""What is counted without a lock is told as prometheus_client tells its own; and the other things of which a request needs many."""

import hmac
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from foundation.counting import Counts, Spreads
from foundation.drawn import AHEAD_BYTES, Drawn
from foundation.mac import Mac, Macs
from foundation.metrics import LATENCY_BUCKETS, Tallies


def told(registry: CollectorRegistry) -> list[str]:
    """All of `/metrics` but when a counter began."""
    lines = generate_latest(registry).decode().splitlines()
    return [line.rpartition(" ")[0] if "_created{" in line else line for line in lines]


def test_counters_are_told_like_prometheus_own() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    counts = Counts("asked", "How often", ["code"], registry=ours)
    counter = Counter("asked_total", "How often", ["code"], registry=theirs)
    for code in ("a", "b", "a", 'c"\n'):
        counts.labels(code).inc()
        counter.labels(code).inc()
    counts.labels("never")
    counter.labels("never")
    assert told(ours) == told(theirs)


@given(st.lists(st.floats(min_value=0, max_value=20, width=32) | st.sampled_from(LATENCY_BUCKETS), max_size=30))
def test_histograms_are_told_like_prometheus_own(values: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    spread = Spreads("took_seconds", "How long", ["cell"], bounds=LATENCY_BUCKETS, registry=ours).labels("eu")
    histogram = Histogram("took_seconds", "How long", ["cell"], buckets=LATENCY_BUCKETS, registry=theirs).labels("eu")
    for value in values:
        spread.observe(value)
        histogram.observe(value)
    assert told(ours) == told(theirs)


def test_what_a_client_calls_a_method_is_no_label() -> None:
    tallies = Tallies()
    for number in range(5):
        tallies.answered("unmatched", f"M{number}", 404, 0.1)
    tallies.answered("unmatched", "GET", 404, 0.1)
    assert set(tallies._counts) == {("unmatched", "other", 404), ("unmatched", "GET", 404)}


@given(st.binary(max_size=200), st.binary(max_size=300))
def test_a_kept_key_makes_the_mac_that_hmac_makes(key: bytes, message: bytes) -> None:
    mac = Mac(key)
    assert mac.digest(message) == mac.digest(message) == hmac.digest(key, message, "sha256")


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=300))
def test_two_kept_keys_make_the_macs_that_hmac_makes(key: bytes, other: bytes, message: bytes) -> None:
    macs = Macs(key, other)
    expected = [hmac.digest(one, message, "sha256") + b"\0" for one in (key, other)]
    assert macs.digests(message) == macs.digests(message) == b"".join(expected)


def test_what_is_drawn_is_given_out_once() -> None:
    drawn = Drawn(bytes.hex)
    taken = [drawn.take(12) for _ in range(3 * AHEAD_BYTES // 12)]
    assert {len(one) for one in taken} == {12}
    assert len(set(taken)) == len(taken)
    assert len(drawn.take(AHEAD_BYTES)) == AHEAD_BYTES


def test_two_processes_of_one_fork_draw_apart() -> None:
    script = (
        "import os\nfrom foundation import drawn, trace\ndrawn.base64_digits(1)\ntrace.new_header()\nread, write = os.pipe()\n"
        "if os.fork() == 0:\n    os.write(write, drawn.base64_digits(16).encode() + trace.new_header())\n    os._exit(0)\n"
        "os.wait()\ntheirs = os.read(read, 71)\n"
        "print(theirs[:16].decode() != drawn.base64_digits(16) and theirs[16:] != trace.new_header())\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout == "True\n"
