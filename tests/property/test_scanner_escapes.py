"""The quick readings see the escapes that the plain one sees, in the lines in which it looks for them, and nothing of a line is lost."""

import re

import pytest
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
    """Every line with a trigger by one expression, each by itself."""
    pieces: list[tuple[bytes, tuple[tuple[int, int], str, tuple[int, int]]]] = []
    for line in unescaping._finders()[0].finditer(data):
        at, end = line.span()
        parts = unescaping._parts(data[at:end])
        undone = [escapes.of(part) for part in parts[1::2]]
        if not any(
            name != "entity" or plain != part for (plain, name, _), part in zip(undone, parts[1::2], strict=True)
        ):
            continue
        pieces.append((b"\n", ((at, at), "", (0, 0))))
        for number, part in enumerate(parts):
            until = at + len(part)
            plain, name, ratio = undone[number // 2] if number % 2 else (part, "", (1, 1))
            if plain or name:
                pieces.append((plain, ((at, until), name, ratio)))
            at = until
    return b"".join(text for text, _ in pieces), pieces


@settings(max_examples=400, deadline=None)
@given(MIXED, st.integers(1, 60))
def test_the_lines_that_change_and_what_they_become_are_the_same_in_blocks_of_any_size(data: bytes, block: int) -> None:
    layer = Layer(None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unescaping, "BLOCK_BYTES", block)
        unescaping.unescape(data, layer)
    text, pieces = plainly(data)
    assert (layer.size, layer.text()) == (len(text), text)
    if pieces:
        layer.original(0, 1)  # asks for them
    assert layer._sources == [source for _, source in pieces]
    assert layer._starts == [sum(len(one) for one, _ in pieces[:at]) for at in range(len(pieces))]
