"""The quick readings see the escapes that the plain one sees, in the lines in which it looks for them, and nothing of a line is lost."""

import re

import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from cells.egress.scanner import escapes, unescaping
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


MIXED = st.lists(
    st.sampled_from(
        [
            b"%4",
            b"%40",
            b"\\",
            b"\\n7",
            b"\\/",
            b"\\u0041",
            b"&",
            b"&#",
            b"&#64;",
            b"&amp;",
            b"&amp;zz;",
            b"&nbsp",
            b"&nbsp;",
            b"&unknown;",
            b"\x1b[1m",
            b"\x1b",
            b"\x00",
            b"\n",
            b"\r\n",
            b"a",
            b" ",
            b"\xff",
            b"\xe2\x80",
            "ü".encode(),
            "\uff20".encode(),
            "\u200b".encode(),
        ]
    ),
    max_size=40,
).map(b"".join)


def plainly(data: bytes) -> tuple[bytes, list[tuple[bytes, tuple[tuple[int, int], str, tuple[int, int]]]]]:
    """Every line with a trigger in it, each by itself."""
    pieces: list[tuple[bytes, tuple[tuple[int, int], str, tuple[int, int]]]] = []
    until = -1
    for line in data.split(b"\n"):
        begin = at = until + 1
        until += len(line) + 1
        parts = unescaping._parts(line)
        undone = [escapes.of(part) for part in parts[1::2]]
        if TRIGGER.search(line) is None or [plain for plain, _, _ in undone] == parts[1::2]:
            continue
        pieces.append((b"\n", ((begin, begin), "", (0, 0))))
        for number, part in enumerate(parts):
            plain, name, ratio = undone[number // 2] if number % 2 else (part, "", (1, 1))
            if plain or name:
                pieces.append((plain, ((at, at + len(part)), name, ratio)))
            at += len(part)
    return b"".join(text for text, _ in pieces), pieces


TRIGGER = re2.compile(unescaping.trigger())


@settings(max_examples=1_000, deadline=None)
@given(MIXED)
def test_the_lines_that_change_and_what_they_become_are_those_of_each_line_by_itself(data: bytes) -> None:
    layer = Layer(None)
    unescaping.unescape(data, layer)
    text, pieces = plainly(data)
    assert (layer.size, layer.text()) == (len(text), text)
    if pieces:
        layer.original(0, 1)  # asks for them
    assert layer._sources == [source for _, source in pieces]
    assert layer._starts == [sum(len(one) for one, _ in pieces[:at]) for at in range(len(pieces))]
