"""What the edge takes for answers of services: scripts of bytes in and events out, the same however the bytes are cut."""

import pytest

from foundation.wire.head import FIELDS_MAX, HEAD_BYTES_MAX, Malformed, StatusHead
from foundation.wire.messages import Told
from foundation.wire.responses import INTERIM_MAX, ResponseReader

OK = b"HTTP/1.1 200 OK\r\n"
BROKEN = "broken"


class Script:
    """`found`: status and body of each answer that ended; BROKEN once one was malformed. `ends`: the service closed after it."""

    def __init__(self, *, head_only: bool = False) -> None:
        self.reader = ResponseReader()
        self.reader.begin(head_only=head_only)
        self.found: list[tuple[int, bytes] | str] = []
        self._status = 0
        self._body = b""

    def feed(self, data: bytes) -> "Script":
        self.reader.feed(data)
        while True:
            match self.reader.event():
                case StatusHead() as head:
                    self._status, self._body = head.status, b""
                case bytes() as piece:
                    assert piece
                    self._body += piece
                case Malformed():
                    self.found.append(BROKEN)
                case Told.END:
                    self.found.append((self._status, self._body))
                case _:
                    return self

    def ends(self) -> "Script":
        if self.reader.close():
            self.found.append((self._status, self._body))
        return self


GOOD = {
    "length": (OK + b"Content-Length: 3\r\n\r\nabc", (200, b"abc"), True),
    "nothing": (OK + b"Content-Length: 0\r\n\r\n", (200, b""), True),
    "chunks": (OK + b"Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", (200, b"abc"), True),
    "no_words": (b"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", (404, b""), True),
    "no_space": (b"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", (404, b""), True),
    "no_content": (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b""), True),
    "not_modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", (304, b""), True),
    "interim": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na", (200, b"a"), True),
    "closes": (OK + b"Connection: Close\r\nContent-Length: 1\r\n\r\na", (200, b"a"), False),
    "http_1_0": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", (200, b"a"), False),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_what_is_well_formed_is_read_however_it_is_cut(name: str) -> None:
    data, told, keep = GOOD[name]
    for cut in range(len(data)):
        script = Script().feed(data[:cut]) if cut else Script()
        script.feed(data[cut:])
        assert (script.found, script.reader.keep) == ([told], keep)
    byte_by_byte = Script()
    for at in range(len(data)):
        byte_by_byte.feed(data[at : at + 1])
    assert byte_by_byte.found == [told]


def test_an_answer_without_framing_ends_with_its_connection_and_no_other_does() -> None:
    assert Script().feed(OK + b"\r\nabc").ends().found == [(200, b"abc")]
    assert Script().feed(OK + b"Content-Length: 5\r\n\r\nabc").ends().found == []
    assert Script().feed(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").ends().found == []
    assert Script().feed(OK).ends().found == []


def test_an_answer_to_head_has_no_body_whatever_it_says() -> None:
    assert Script(head_only=True).feed(OK + b"Content-Length: 5\r\n\r\n").found == [(200, b"")]
    assert Script(head_only=True).feed(OK + b"Transfer-Encoding: chunked\r\n\r\n").found == [(200, b"")]


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        OK + b"Content-Length: 3, 3\r\n\r\nabc",
        OK + b"Content-Length: +3\r\n\r\nabc",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 3 \r\n\r\nabc",
        OK + b"Content-Length: " + b"9" * 16 + b"\r\n\r\n",
        OK + b"Content-Length:\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: identity\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
        OK + b"Content-Length : 3\r\n\r\nabc",
        OK + b"X-A: b\r\n c\r\n\r\n",
        OK + b"X-A: b\nX-B: c\r\n\r\n",
        OK + b"X-A: b\rc\r\n\r\n",
        OK + b"X-A: b\x00c\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 Low\r\n\r\n",
        b"HTTP/1.1 600 High\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" * (INTERIM_MAX + 1),
        OK + b"a: b\r\n" * (FIELDS_MAX + 1) + b"\r\n",
        OK + b"X: " + b"x" * HEAD_BYTES_MAX,
    ],
)
def test_a_malformed_answer_is_none_however_it_is_cut(data: bytes) -> None:
    assert Script().feed(data).found == [BROKEN]
    for cut in range(1, min(len(data), 200)):
        assert Script().feed(data[:cut]).feed(data[cut:]).found == [BROKEN]


@pytest.mark.parametrize("behind", [b"", b"\x81\x01a", OK])
def test_an_upgrade_that_was_asked_for_ends_http_on_its_connection(behind: bytes) -> None:
    switching = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"
    data = switching + behind
    for cut in range(1, len(data)):
        reader = ResponseReader()
        reader.begin(head_only=False, upgrade=True)
        reader.feed(data[:cut])
        heads = [event] if isinstance(event := reader.event(), StatusHead) else []
        reader.feed(data[cut:])
        heads += [event] if isinstance(event := reader.event(), StatusHead) else []
        assert [(head.status, head.fields) for head in heads] == [(101, [(b"upgrade", b"x")])]
        assert reader.event() is Told.MORE
        assert reader.rest() == behind
        reader.begin(head_only=False)
        reader.feed(switching)
        assert isinstance(reader.event(), Malformed), "it was asked for once"


def test_bytes_behind_an_answer_are_seen() -> None:
    assert Script().feed(OK + b"Content-Length: 1\r\n\r\na" + OK).reader.ahead
    assert Script().feed(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nx").reader.ahead
    assert not Script().feed(OK + b"Content-Length: 1\r\n\r\na").reader.ahead


def test_the_rest_of_a_body_of_a_stated_length_may_be_read_elsewhere() -> None:
    script = Script().feed(OK + b"Content-Length: 5\r\n\r\nab")
    assert script.reader.owed == 3
    script.reader.poured()
    assert script.reader.owed == 0
    assert not script.reader.ahead
    assert script.feed(b"x").reader.ahead


@pytest.mark.parametrize(
    "data", [b"Content-Len", b"Content-Length: 2\r\n\r\nab", b"\r\nab", b"Transfer-Encoding: chunked\r\n\r\n3\r\na"]
)
def test_nothing_else_is_read_elsewhere(data: bytes) -> None:
    assert Script().feed(OK + data).reader.owed == 0
