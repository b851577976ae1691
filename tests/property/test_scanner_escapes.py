"""The quick reading of a line in ASCII sees the escapes that the plain one sees, and nothing of a line is lost."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from cells.egress.scanner import unescaping
from cells.egress.scanner.layers import Layer

PLAIN = re.compile(unescaping._ESCAPE.encode())
SIGNS = st.sampled_from(
    [
        b"%",
        b"4",
        b"0",
        b"\\",
        b"u",
        b"x",
        b"n",
        b"&",
        b"#",
        b";",
        b"a",
        b"amp",
        b"\x1b",
        b"[",
        b"\x01",
        b" ",
        b"@",
        b"\\u0040",
    ]
)
LINES = st.lists(SIGNS, max_size=30).map(b"".join)


@settings(max_examples=2_000, deadline=None)
@given(LINES)
def test_the_quick_reading_sees_what_the_plain_one_sees(line: bytes) -> None:
    parts = unescaping._parts(line)
    assert b"".join(parts) == line
    assert parts[1::2] == PLAIN.findall(line)


@settings(max_examples=300, deadline=None)
@given(LINES, LINES)
def test_a_text_of_escapes_leads_back_to_every_byte_of_its_lines(first: bytes, second: bytes) -> None:
    data, layer = first + b"\n" + second + b"%40", Layer(None)
    unescaping.unescape(data, layer)
    size = layer.size
    assert len(layer.text()) == size
    for at in range(size):
        start, end, _ = layer.original(at, at + 1)
        assert 0 <= start <= end <= len(data)
