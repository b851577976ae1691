"""What the edge takes for requests: scripts of bytes in and events out, the same however the bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.wire.chunks import EXTENSIONS_BYTES_MAX, TRAILERS_BYTES_MAX
from foundation.wire.chunks import LINE_BYTES_MAX as CHUNK_LINE_BYTES_MAX
from foundation.wire.head import FIELDS_MAX, HEAD_BYTES_MAX, LINE_BYTES_MAX, Malformed, RequestHead
from foundation.wire.messages import Told
from foundation.wire.requests import RequestReader

HEAD = b"POST /a HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


class Script:
    """Reads what is fed to it as the door does: every request is framed by its fields, and answered when it is whole."""

    def __init__(self) -> None:
        self.reader = RequestReader()
        self.found: list[tuple[bytes, bytes] | int] = []
        self._target = b""
        self._body = b""

    def feed(self, data: bytes) -> "Script":
        self.reader.feed(data)
        while True:
            match self.reader.event():
                case RequestHead() as head:
                    fields = dict(head.fields)
                    length = fields.get(b"content-length")
                    self._target, self._body = head.target, b""
                    more = self.reader.body(
                        length=None if length is None else int(length), chunked=b"transfer-encoding" in fields
                    )
                    if not more:
                        self._whole()
                case bytes() as piece:
                    assert piece
                    self._body += piece
                case Malformed() as why:
                    self.found.append(why.status)
                case Told.END:
                    self._whole()
                case _:
                    return self

    def _whole(self) -> None:
        self.found.append((self._target, self._body))
        self.reader.another()


def read(data: bytes) -> list[tuple[bytes, bytes] | int]:
    return Script().feed(data).found


def chunked(body: bytes) -> list[tuple[bytes, bytes] | int]:
    return read(CHUNKED + body)


# --- what is taken -----------------------------------------------------------------------------------------------------------

GOOD = {
    "plain": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", [(b"/", b"")]),
    "no_fields": (b"GET / HTTP/1.0\r\n\r\n", [(b"/", b"")]),
    "empty_line_before": (b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", [(b"/", b"")]),
    "spaces_after_values": (b"GET / HTTP/1.1\r\nHost: x \r\nX-A: b\t \r\n\r\n", [(b"/", b"")]),
    "empty_value": (b"GET / HTTP/1.1\r\nHost:\r\nX-A: \t \r\n\r\n", [(b"/", b"")]),
    "encoded_as_sent": (b"GET /a%2fb/%2E%2e/c?q=%00&x=%zz HTTP/1.1\r\nHost: x\r\n\r\n", [(b"/a%2fb/%2E%2e/c?q=%00&x=%zz", b"")]),
    "length": (HEAD + b"Content-Length: 3\r\n\r\nabc", [(b"/a", b"abc")]),
    "length_of_nothing": (HEAD + b"Content-Length: 0\r\n\r\n", [(b"/a", b"")]),
    "chunks": (CHUNKED + b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", [(b"/a", b"abc0123456789")]),
    "leading_zeros": (CHUNKED + b"003\r\nabc\r\n000\r\n\r\n", [(b"/a", b"abc")]),
    "extensions": (CHUNKED + b'3;a=b;c="d e"\r\nabc\r\n3 ; x\r\nabc\r\n0;end\r\n\r\n', [(b"/a", b"abcabc")]),
    "trailers": (CHUNKED + b"1\r\na\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n", [(b"/a", b"a")]),
    "pipelined": (
        CHUNKED + b"1\r\na\r\n0\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\nbb" + b"GET /c HTTP/1.1\r\nHost: x\r\n\r\n",
        [(b"/a", b"a"), (b"/a", b"bb"), (b"/c", b"")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_what_is_well_formed_is_read_however_it_is_cut(name: str) -> None:
    data, told = GOOD[name]
    assert read(data) == told
    byte_by_byte = Script()
    for at in range(len(data)):
        byte_by_byte.feed(data[at : at + 1])
    assert byte_by_byte.found == told
    for cut in range(1, len(data)):
        assert Script().feed(data[:cut]).feed(data[cut:]).found == told


# --- what is refused ---------------------------------------------------------------------------------------------------------

BAD = {
    "bare_lf": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "bare_lf_inside": (b"GET / HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n", 400),
    "bare_cr_inside": (b"GET / HTTP/1.1\r\nHost: x\rX-A: b\r\n\r\n", 400),
    "bare_cr_in_line": (b"GET /\r HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "nul_in_value": (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n", 400),
    "control_in_value": (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: a\x01b\r\n\r\n", 400),
    "delete_in_value": (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: a\x7fb\r\n\r\n", 400),
    "obs_fold": (b"GET / HTTP/1.1\r\nHost: x\r\n X-A: b\r\n\r\n", 400),
    "obs_fold_tab": (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: a\r\n\tb\r\n\r\n", 400),
    "fold_at_first_field": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "space_before_colon": (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc", 400),
    "tab_before_colon": (b"GET / HTTP/1.1\r\nHost\t: x\r\n\r\n", 400),
    "no_colon": (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length\r\n\r\n", 400),
    "no_name": (b"GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n", 400),
    "name_no_token": (b"GET / HTTP/1.1\r\nHost: x\r\nX(A): b\r\n\r\n", 400),
    "name_above_ascii": (b"GET / HTTP/1.1\r\nHost: x\r\nX-\xe4: b\r\n\r\n", 400),
    "two_spaces": (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "two_spaces_before_version": (b"GET /  HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "tab_in_line": (b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "space_after_version": (b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
    "space_in_target": (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "target_above_ascii": (b"GET /\xe4 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "space_before_method": (b" GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "method_no_token": (b"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "method_endless": (b"G" * 33 + b" / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "two_empty_lines_before": (b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "no_version": (b"GET /\r\n\r\n", 400),
    "http_2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "http_1_2": (b"GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505),
    "http_lower": (b"GET / http/1.1\r\nHost: x\r\n\r\n", 400),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "space_after_length": (HEAD + b"Content-Length: 3 \r\n\r\nabc", 400),
    "tab_after_coding": (HEAD + b"transfer-encoding: chunked\t\r\n\r\n0\r\n\r\n", 400),
    "too_many_fields": (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (FIELDS_MAX + 1) + b"\r\n", 431),
    "too_large": (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * HEAD_BYTES_MAX + b"\r\n\r\n", 431),
    "target_too_long": (b"GET /" + b"x" * LINE_BYTES_MAX + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "target_endless": (b"GET /" + b"x" * (LINE_BYTES_MAX + 1), 414),
    "fields_endless": (b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES_MAX, 431),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_head_is_refused_however_it_is_cut_and_nothing_is_read_after_it(name: str) -> None:
    data, status = BAD[name]
    assert read(data) == [status]
    assert read(data + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n") == [status]
    pieces = Script()
    step = 1 if len(data) < 200 else 4000
    for at in range(0, len(data), step):
        pieces.feed(data[at : at + step])
    assert pieces.found == [status]


@pytest.mark.parametrize(
    "body",
    [
        b"+3\r\nabc\r\n0\r\n\r\n", b"-3\r\nabc\r\n", b"0x3\r\nabc\r\n", b" 3\r\nabc\r\n", b"3 \r\nabc\r\n", b"3\t\r\nabc\r\n", b"g\r\n",
        b"\r\n", b";a\r\n", b"3,3\r\nabc\r\n", b"3\nabc\n0\n\n", b"3\r\nabcd\r\n0\r\n\r\n", b"3\r\nabc0\r\n\r\n", b"3\r\nabc\n0\r\n\r\n",
        b"3\rabc\r\n0\r\n\r\n", b"3\r\nabc\r0\r\n\r\n", b"3;a\nb\r\nabc\r\n0\r\n\r\n", b"3;a\rb\r\nabc\r\n", b"3;\x00\r\nabc\r\n",
        b"1" * 16 + b"\r\n", b"0" * 16 + b"3\r\nabc\r\n", b"3;" + b"x" * CHUNK_LINE_BYTES_MAX,
        (b"1;" + b"x" * 500 + b"\r\na\r\n") * (EXTENSIONS_BYTES_MAX // 500 + 1),
        b"0\r\nX-A : b\r\n\r\n", b"0\r\n X-A: b\r\n\r\n", b"0\r\nX-A: b\nX-B: c\r\n\r\n", b"0\r\nX-A\r\n\r\n",
        b"0\r\nX: " + b"x" * TRAILERS_BYTES_MAX, b"0\r\n" + b"a: b\r\n" * (FIELDS_MAX + 1) + b"\r\n", b"0\r\n\n",
    ],
)  # fmt: skip
def test_malformed_chunks_are_refused_and_nothing_is_read_after_them(body: bytes) -> None:
    assert chunked(body) == [400]
    assert chunked(body + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n") == [400]
    pieces = Script().feed(CHUNKED)
    for at in range(len(body)):
        pieces.feed(body[at : at + 1])
    assert pieces.found == [400]


def test_the_next_request_waits_until_this_one_is_answered() -> None:
    reader = RequestReader()
    reader.feed(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n")
    assert isinstance(reader.event(), RequestHead)
    assert not reader.body(length=None, chunked=False)
    assert reader.event() is Told.MORE
    assert reader.ahead
    reader.another()
    found = reader.event()
    assert isinstance(found, RequestHead)
    assert found.target == b"/b"


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.integers(1, 9), st.booleans())
def test_a_body_comes_out_as_it_went_in(pieces: list[bytes], step: int, lengthy: bool) -> None:
    body = b"".join(pieces)
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    data = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body if lengthy else CHUNKED + framed
    script = Script()
    for at in range(0, len(data), step):
        script.feed(data[at : at + step])
    assert script.found == [(b"/a", body)]


@given(st.binary(max_size=200), st.integers(1, 200))
def test_garbage_breaks_nothing_and_means_the_same_in_two_parts(garbage: bytes, cut: int) -> None:
    for start in (b"", b"GET / HTTP/1.1\r\n", CHUNKED):
        data = start + garbage
        assert Script().feed(data[:cut]).feed(data[cut:]).found == read(data)
