"""Encodings are undone before anything is looked for, within each other, to a depth; what is kept shut by a cap counts as found."""

import base64
import gzip
import html
import json
import random
import zlib
from collections.abc import Callable
from itertools import product
from urllib.parse import quote

import pytest

from cells.egress.scan import redacted
from cells.egress.scanner import core, unpacking
from cells.egress.scanner.findings import Finding, Kind
from cells.egress.scanner.stream import scan

VALUES = {
    Kind.EMAIL: "anna.example@mail.example.org",
    Kind.CARD: "4111 1111 1111 1111",
    Kind.IBAN: "DE89370400440532013000",
    Kind.PHONE: "+49 30 901820",
    Kind.NATIONAL_ID: "529.982.247-25",
}
WIDE = str.maketrans({chr(sign): chr(sign + 0xFEE0) for sign in range(0x21, 0x7F)})
ENCODINGS: dict[str, Callable[[str], str]] = {
    "percent": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "quoted": lambda text: quote(text, safe=""),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode(),
    "hex": lambda text: text.encode().hex(),
    "json": lambda text: json.dumps(json.dumps({"note": text})),
    "escaped": lambda text: "".join(f"\\u{ord(sign):04x}" for sign in text),
    "entities": lambda text: "".join(f"&#{ord(sign)};" for sign in text),
    "html": lambda text: html.escape(text).replace("@", "&commat;").replace(" ", "&nbsp;"),
    "wide": lambda text: text.translate(WIDE),
    "zero_width": "\u200b".join,
    "gzip": lambda text: base64.b64encode(gzip.compress(f"it is {text} here".encode(), mtime=0)).decode(),
}
GROUP = 3
"""By so much base64 may be told too wide where its neighbours are of its alphabet."""
AROUND = ("see {} there", "/v1/{}/x", '{{"k":"{}"}}', "a={}&b")


def found_in(text: str | bytes, kind: Kind) -> list[Finding]:
    raw = text.encode() if isinstance(text, str) else text
    return [one for one in scan(raw) if one.kind is kind]


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_encoded_value_is_found_where_its_encoding_stands(encoding: str, kind: Kind) -> None:
    for around in AROUND:
        encoded = ENCODINGS[encoding](VALUES[kind])
        text = around.format(encoded)
        found = found_in(text, kind)
        assert found, text
        start = len(text[: text.index(encoded)].encode())
        end = start + len(encoded.encode())
        assert all(start - GROUP <= one.start < one.end <= end + GROUP for one in found), (text, found)


@pytest.mark.parametrize(("outer", "inner"), list(product(ENCODINGS, ENCODINGS)))
def test_a_value_is_found_within_two_encodings(outer: str, inner: str) -> None:
    if inner in ("wide", "zero_width") and outer in ("base64", "base64url", "hex"):
        pytest.skip("text beyond ASCII in base64 or hex is not looked for")
    text = ENCODINGS[outer](ENCODINGS[inner](VALUES[Kind.EMAIL]))
    assert found_in(f"see {text} there", Kind.EMAIL) or found_in(f"see {text} there", Kind.OPAQUE)


def test_the_path_names_the_decodings_from_the_outermost() -> None:
    inner = base64.b64encode(b"mail anna@example.org now").decode()
    text = f"x {quote(quote(inner + '=', safe=''), safe='')} y"
    assert {one.path for one in found_in(text, Kind.EMAIL)} <= {("base64",), ("percent", "percent", "base64")}
    assert [one.path for one in found_in(quote(quote("a@example.org", safe=""), safe=""), Kind.EMAIL)] == [
        ("percent", "percent")
    ]
    packed = base64.b64encode(gzip.compress(b"mail anna@example.org now")).decode()
    assert [one.path for one in found_in(packed, Kind.EMAIL)] == [("base64", "gzip")]


def test_a_span_in_base64_is_told_to_the_group() -> None:
    plain = b"the address of anna is anna@example.org and nothing else is said here"
    text = base64.b64encode(plain).decode()
    (found,) = found_in(text, Kind.EMAIL)
    told = base64.b64decode(text[found.start : found.end])
    assert b"anna@example.org" in told
    assert len(told) <= len(b"anna@example.org") + 4


def test_the_same_token_twice_is_found_twice() -> None:
    token = base64.b64encode(b"anna@example.org").decode()
    assert len(found_in(f"{token} and {token} and %20{token}", Kind.EMAIL)) == 3


def test_a_value_of_which_a_part_alone_stands_there_unencoded_is_told_whole() -> None:
    """That part is found, too, and is not all of it."""
    text = b"write to john&#46;doe@example.org or call"
    (found,) = scan(text)
    assert (text[found.start : found.end], found.kind, found.path) == (b"john&#46;doe@example.org", Kind.EMAIL, ())


def test_hex_in_which_text_shows_as_in_base64_is_read_as_hex_too() -> None:
    text = b"m n o m n anna@example.org".hex()
    (found,) = found_in(f"see {text} there", Kind.EMAIL)
    assert found.path == ("hex",)


def test_wrapped_base64_and_another_alignment_are_read() -> None:
    chance = random.Random(4)
    for shift in range(8):
        plain = chance.randbytes(60) + b"-- anna@example.org --" + chance.randbytes(60)
        token = base64.encodebytes(plain).decode()
        assert found_in("ABCDEFGH"[:shift] + token, Kind.EMAIL)


def test_depths_beyond_the_cap_count_as_found() -> None:
    text = "anna@example.org"
    for _ in range(core.DEPTH_MAX):
        text = quote(text.replace("@", "%40") if text == "anna@example.org" else text, safe="")
    assert found_in(text, Kind.EMAIL) or found_in(text, Kind.OPAQUE)
    deeper = text
    for _ in range(2):
        deeper = quote(deeper, safe="")
    assert [one.scheme for one in found_in(deeper, Kind.OPAQUE)] == ["depth"]


def test_what_decodes_into_too_much_counts_as_found() -> None:
    many = b" ".join(base64.b64encode(gzip.compress(bytes([65 + at]) * 400_000)) for at in range(8))
    assert "decoded" in {one.scheme for one in found_in(many, Kind.OPAQUE)}


def hexed(raw: bytes) -> bytes:
    return raw.hex().encode()


@pytest.mark.parametrize("cap", ["depth", "deeper", "decoded"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_cap_counts_all_that_it_kept_shut_as_found_in_whatever_order_that_stands(
    cap: str, order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = [hexed(b"anna@example.org"), base64.b64encode(b"ben.xy@example.org")]
    if cap == "decoded":
        monkeypatch.setattr(core, "DECODED_BYTES_MAX", 1)
    else:
        monkeypatch.setattr(core, "DEPTH_MAX", 1 if cap == "deeper" else 0)
    if cap == "deeper":
        tokens = [base64.b64encode(tokens[0]), hexed(tokens[1])]
    first, last = tokens[::order]
    text = b"see %b and then %b there" % (first, last)
    (found,) = (one for one in found_in(text, Kind.OPAQUE) if one.scheme == cap.replace("deeper", "depth"))
    assert found.start <= text.index(first)
    assert found.end >= text.index(last) + len(last.rstrip(b"="))
    assert redacted(text.decode(), [found]) == text[: found.start].decode() + "[opaque]"


def test_no_finding_ends_before_it_begins() -> None:
    chance = random.Random(11)
    encode: list[Callable[[bytes], bytes]] = [hexed, base64.b64encode, base64.encodebytes, gzip.compress]
    for _ in range(300):
        tokens = [chance.choice(list(VALUES.values())).encode() for _ in range(4)]
        for _ in range(chance.randrange(1, 7)):
            at = chance.randrange(len(tokens))
            tokens[at : at + 1] = [chance.choice(encode)(chance.choice((b" ", b"\n")).join(tokens[at : at + 2]))]
        text = b" and ".join(tokens)
        assert all(0 <= one.start <= one.end <= len(text) for one in scan(text)), text


def test_a_bomb_a_broken_and_an_unfinished_member_count_as_found() -> None:
    bomb = gzip.compress(bytes(unpacking.GZIP_BYTES_MAX * 4))
    whole = gzip.compress(b"nothing of anybody " * 40)
    broken = whole[:12] + bytes(20) + whole[32:]
    for raw in (bomb, whole[:-12], broken, base64.b64encode(bomb)):
        assert "gzip" in {one.scheme for one in scan(b"x " + raw + b" y")}, raw[:20]
    assert "gzip" not in {one.scheme for one in scan(b"x " + whole + b" y")}


def test_more_members_than_are_opened_count_as_found() -> None:
    packed = gzip.compress(b"x", mtime=0)
    found = scan(packed * (unpacking.GZIP_MEMBERS_MAX + 1))
    assert "gzip" in {one.scheme for one in found}


def test_what_is_no_utf8_counts_as_found_where_it_stands() -> None:
    found = found_in("für".encode("latin-1") + b" anna@example.org", Kind.OPAQUE)
    assert [(one.start, one.scheme) for one in found] == [(1, "utf-8")]
    assert found_in(b"ok \xe2\x82", Kind.OPAQUE)
    assert not found_in("für Ä € 😀", Kind.OPAQUE)


@pytest.mark.parametrize("value", ["4111111111111111", "10.0.0.5", "529.982.247-25", "030 90182012"])
@pytest.mark.parametrize("before", ["%FF", "a%ff", "%E9%", "%e2%82"])
def test_a_value_right_behind_a_byte_that_is_no_utf8_is_found_in_what_is_decoded(value: str, before: str) -> None:
    text = f"x={before}{value}%E2%80%8B".encode()
    assert any(
        one.kind is not Kind.OPAQUE and text[one.start : one.end].startswith(value.encode()) for one in scan(text)
    )


def test_nothing_is_lost_by_a_byte_that_is_no_utf8_within_a_date() -> None:
    assert Kind.BIRTH_DATE in {one.kind for one in scan("geboren am 3. März 1980".encode("latin-1"))}


def test_utf16_of_ascii_is_read() -> None:
    assert found_in("anna@example.org".encode("utf-16-le"), Kind.EMAIL)


def test_undoing_what_is_no_escape_ends() -> None:
    assert scan(b"a &unknown; & b; 100% \\q C:\\new\\table &amp &#xFFFFFFF;") == []


def test_deflate_without_gzips_header_is_not_opened() -> None:
    """What is promised not to be seen: the records say so."""
    assert found_in(base64.b64encode(zlib.compress(b"anna@example.org")).decode(), Kind.EMAIL) == []
