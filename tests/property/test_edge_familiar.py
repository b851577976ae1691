"""Heads that came before: what is given again of one is what a strict reading of it says, whatever stands in it; and nothing is kept of
what speaks of somebody."""

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foundation.problems import Problem
from foundation.wire.answer import whole
from foundation.wire.head import Malformed, RequestHead, StatusHead
from foundation.wire.messages import END
from foundation.wire.requests import RequestReader
from foundation.wire.responses import ResponseReader
from foundation.wire.targets import Asked, asked_of
from gateway.edge.answers import client_fields, refusal_of
from gateway.edge.familiar import HEADS_MAX, KEPT_S, Came, Familiar, came, own_fields
from gateway.edge.headers import RequestFields, read_request
from gateway.edge.landing import Landing

KNOWN = (b"Bearer ann", b"Bearer ben")
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
USUAL = (
    b"Host: shop", b"Accept: */*", b"User-Agent: one", b"Authorization: Bearer ann", b"authorization: Bearer ben",
    b"Content-Length: 5", b"content-length: 5", b"Content-Length: 05", b"X-Forwarded-For: 10.0.0.9",
    b"x-forwarded-for: 10.0.0.9, 10.0.0.8", b"Traceparent: " + TRACE, b"Via: 1.0 cache", b"X-Forwarded-Host: a",
    b"Connection: keep-alive", b"Accept-Language: de",
)  # fmt: skip
ODD = (
    b"Host: other", b"host:shop", b"Authorization:Bearer ann", b"AUTHORIZATION: Bearer ann", b"Authorization: Bearer ann ",
    b"Content-Length: 4", b"Content-Length: +5", b"Content-Length: 5 ", b"X-Forwarded-For: a\tb", b"X_Forwarded_For: 10.0.0.9",
    b"Traceparent: nonsense", b"Cookie: a=b", b"Connection: close", b"Connection: user-agent",
    b"Connection: authorization, accept", b"Expect: 100-continue", b"Upgrade: websocket", b"Transfer-Encoding: chunked",
    b"Domicile-For: x", b"Domicile_Hop: x", b"X-HTTP-Method-Override: PUT", b" folded", b"Bad line", b"Bad : line",
    b"Accept: a\x00b", b"Accept: a\nb", b"Accept: a\rb", b"X-Empty:", b"Accept: \xff", b"Referer: /x", b"Date: a\rb",
    b"Content-Length: 5\rb",
)  # fmt: skip
FIRST = (
    b"GET /orders/1 HTTP/1.1", b"POST /orders/2?a=%20 HTTP/1.1", b"PUT /orders HTTP/1.1", b"HEAD /records/x?y HTTP/1.1",
    b"GET /orders? HTTP/1.1", b"GET /orders/1 HTTP/1.0", b"get /orders/1 HTTP/1.1", b"GET  /orders/1 HTTP/1.1",
    b"GET /orders/./1 HTTP/1.1", b"GET /orders/%2e HTTP/1.1", b"GET /orders#x HTTP/1.1", b"GET http://a/orders HTTP/1.1",
    b"GET /o\\rders HTTP/1.1", b"GET /orders/\xff HTTP/1.1", b"TRACE /orders HTTP/1.1",
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(st.sampled_from(USUAL), max_size=6))
    if not draw(st.integers(0, 2)):
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(ODD)))
    first = draw(st.sampled_from(FIRST if not draw(st.integers(0, 3)) else FIRST[:5]))
    end = draw(st.sampled_from([b"", b"", b"hello", b"hello", b"hell", b"hello GET"]))
    return b"\r\n".join([first, b"Host: shop", b"Authorization: Bearer ann", *lines, b"", b""]) + end


@st.composite
def alike(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Two that differ in what may be each one's own, or in anything."""
    first = draw(requests())
    if draw(st.booleans()):
        return first, draw(requests())
    head, _, _ = first.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    own = (b"authorization", b"content-length", b"x-forwarded-for", b"traceparent")
    lines = [line for line in lines if line.partition(b":")[0].lower() not in own]
    for line in draw(
        st.lists(
            st.sampled_from([line for line in USUAL + ODD if line[:9].lower() in {o[:9] for o in own}]), max_size=4
        )
    ):
        lines.insert(draw(st.integers(1, len(lines))), line)
    return first, b"\r\n".join([*lines, b"", b""]) + draw(st.sampled_from([b"", b"hello"]))


def strictly(data: bytes) -> tuple[RequestHead, Asked, RequestFields, bytes] | None:
    """As the edge reads what nobody has seen before, where it came whole."""
    reader = RequestReader()
    reader.feed(data)
    head = reader.event()
    if not isinstance(head, RequestHead):
        return None
    asked, fields = asked_of(head), read_request(head.fields, minor=head.minor)
    if isinstance(asked, Malformed) or isinstance(fields, Problem):
        return None
    more = reader.body(length=fields.content_length, chunked=fields.chunked)
    body = reader.whole(1 << 16) if more else b""
    return None if body is None or reader.ahead else (head, asked, fields, body)


@settings(max_examples=200, deadline=None)
@given(alike())
@example((b"GET /o HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ann\r\n\r\n",) * 2)
def test_fields_that_are_given_again_are_those_of_a_strict_reading(pair: tuple[bytes, bytes]) -> None:
    familiar = Familiar()
    for data in pair:
        one, read = came(data), strictly(data)
        found = None if one is None else fields_of(familiar, one, 0.0)
        if one is not None and found is not None and one.authorization in KNOWN:
            assert read is not None
            _, asked, fields, body = read
            assert (one.method, one.path, one.query, one.sent, one.body) == (
                asked.method, asked.path, asked.query, asked.sent, body,
            )  # fmt: skip
            assert one.path[1:].partition(b"/")[0] == one.service
            assert found.written is not None
            assert found.written.kept == b"".join(fields.kept)
            assert msgspec.structs.replace(found, written=None) == fields
        if one is not None and read is not None:
            familiar.learn(one, read[0], read[2])


def fields_of(familiar: Familiar, one: Came, now_s: float) -> RequestFields | None:
    """As a task has them."""
    known = familiar.known(one, now_s)
    return None if known is None else own_fields(one, known)


def learnt(familiar: Familiar, data: bytes) -> bool:
    """Whether another like it would not be read."""
    one, read = came(data), strictly(data)
    if one is None or read is None:
        return False
    familiar.learn(one, read[0], read[2])
    return fields_of(familiar, one, 0.0) is not None


def request(*lines: bytes, first: bytes = b"GET /orders/1 HTTP/1.1", body: bytes = b"") -> bytes:
    return b"\r\n".join([first, b"Host: shop", b"Authorization: Bearer ann", *lines, b"", b""]) + body


def test_what_is_each_requests_own_makes_it_no_other() -> None:
    familiar = Familiar()
    assert learnt(familiar, request(b"Accept: */*"))
    other = came(
        b"POST /orders/7?q HTTP/1.1\r\nX-Forwarded-For: 10.0.0.9\r\nHost: shop\r\nContent-Length: 5\r\nAccept: */*\r\n"
        b"traceparent: %b\r\nauthorization: Bearer ben\r\n\r\nhello" % TRACE
    )
    assert other is not None
    fields = fields_of(familiar, other, 0.0)
    assert fields is not None
    assert (fields.authorization, fields.content_length, fields.traceparent) == (b"Bearer ben", 5, TRACE)
    assert (fields.forwarded_for, fields.host, fields.kept) == ([b"10.0.0.9"], b"shop", [b"accept: */*\r\n"])
    assert len(familiar) == 1


@pytest.mark.parametrize("spelt", [b"Content-Length: ", b"content-length: "])
@pytest.mark.parametrize(
    "value", [b"", b"+5", b"5 ", b"5,5", b"5\r", b"5\n", b"5\rAccept: */*", b"5\nAccept: */*", b"\r\nAccept: 5"]
)
def test_a_length_that_is_not_one_line_of_digits_is_read_strictly(spelt: bytes, value: bytes) -> None:
    first = b"POST /orders/1 HTTP/1.1"
    assert came(request(spelt + b"5", first=first, body=b"hello")) is not None
    assert came(request(spelt + value, first=first, body=b"hello")) is None


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (b"Bearer ann\r\n", b"Bearer ann\n"),
        (b"Bearer ann\r\n", b"Bearer ann\r"),
        (b"Bearer ann\r\n", b"Bearer ann\r\r\n"),
        (b"\r\nAuthorization", b"\nAuthorization"),
        (b"\r\nAuthorization", b"\r\n\r\nAuthorization"),
        (b"\r\nAccept", b"\nAccept"),
        (b"\r\nAccept", b"\r\n\r\nAccept"),
        (b" HTTP/1.1\r\n", b" HTTP/1.1\n"),
        (b"*/*\r\n\r\n", b"*/*\r\n\r\n\r\n"),
        (b"*/*\r\n\r\n", b"*/*\r\n\r\nx\r\n\r\n"),
        (b"*/*\r\n\r\n", b"*/*\n\r\n"),
        (b"/orders/1", b"/orders/.1"),
        (b"/orders/1", b"/orders/a/../1"),
        (b"/orders/1", b"/orders/1/."),
    ],
)
def test_one_that_differs_in_where_a_line_ends_is_no_other_again(was: bytes, now: bytes) -> None:
    familiar = Familiar()
    like = request(b"Accept: */*")
    assert learnt(familiar, like)
    changed = like.replace(was, now, 1)
    assert changed != like
    for data in (changed, like + changed, changed + like):
        one = came(data)
        assert one is None or one.authorization not in KNOWN or familiar.known(one, 0.0) is None
        read = strictly(data)
        if one is not None and read is not None:
            familiar.learn(one, read[0], read[2])
    assert len(familiar) == 1


def test_nothing_that_may_speak_of_somebody_is_kept_and_nothing_for_long() -> None:
    familiar = Familiar()
    for line in ODD:
        learnt(familiar, request(line))
    spoken = b" ".join(list(familiar._known)).lower()
    for word in (b"cookie", b"referer", b"bearer", b"domicile", b"10.0.0", TRACE, b"expect", b"upgrade", b"close"):
        assert word not in spoken
    assert learnt(familiar, request())
    one = came(request())
    assert one is not None
    assert fields_of(familiar, one, KEPT_S + 1) is None
    assert len(familiar) == 0
    for number in range(2 * HEADS_MAX):
        learnt(familiar, request(b"Accept: %d" % number))
        assert len(familiar) <= HEADS_MAX


# --- answers -------------------------------------------------------------------------------------------------------------------

STATUS = (
    b"HTTP/1.1 200 OK", b"HTTP/1.1 201 Created", b"HTTP/1.1 404 Not Found", b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 304 Not Modified", b"HTTP/1.0 200 OK", b"HTTP/1.1 103 Early Hints", b"HTTP/1.1 409 Conflict", b"nonsense",
    b"HTTP/1.1 599",
)  # fmt: skip
SAID = (
    b"content-length: 5", b"Content-Length: 5", b"content-length: 005", b"content-length: 5 ", b"content-length: 4",
    b"Content-length: 5", b"Date: today", b"date: to\rday", b"Date: a\x00", b"date:x", b"Server: x", b"Content-Type: a/b",
    b"connection: close", b"connection: server", b"connection: keep-alive", b"set-cookie: a=b", b"etag: x", b"domicile-epoch: 9",
    b"domicile-refusal: stale_epoch", b"transfer-encoding: chunked", b"update: x", b"x-ate: y", b" folded", b"bad", b"vary: a \t",
)  # fmt: skip


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    first = draw(st.sampled_from(STATUS if not draw(st.integers(0, 2)) else STATUS[:3]))
    lines = draw(st.lists(st.sampled_from(SAID), max_size=4))
    lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from([b"content-length: 5", b"Server: x"])))
    return b"\r\n".join([first, *lines, b"", b""]) + draw(st.sampled_from([b"hello", b"hello", b"hell", b"hello!"]))


def read(data: bytes, told: list[tuple[bytes, bytes]], dated: bytes) -> bytes | None:
    """The client's answer as the edge makes it of what nobody has seen before; None unless it is whole, and not the last."""
    reader = ResponseReader()
    reader.begin(head_only=False)
    reader.feed(data)
    head = reader.event()
    if not isinstance(head, StatusHead) or refusal_of(head) is not None:
        return None
    body = reader.whole()
    if body is None or reader.ahead or not reader.keep or reader.event() is END:
        return None
    return whole(head.status, client_fields(head, told, method="GET"), body, dated, method="GET", keep=True)


@settings(max_examples=200, deadline=None)
@given(st.lists(answers(), min_size=1, max_size=3))
def test_an_answer_that_lands_at_once_is_that_of_a_strict_reading(script: list[bytes]) -> None:
    landing, dated = Landing(), b"date: now\r\n"
    for data in script + script:
        landed = landing.answer(data, b"domicile-epoch: 7\r\n", dated, keep=True, now_s=0.0)
        assert landed is None or landed == read(data, [(b"domicile-epoch", b"7")], dated)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (b"OK\r\nDate: today\r\n", b"OK\n"),
        (b"OK\r\nDate: today\r\n", b"OK\r"),
        (b"Date: today\r\n", b"Date: today\n"),
        (b"Date: today\r\n", b"Date: today\r"),
        (b"length: 2\r\n", b"length: 2\n"),
        (b"length: 2\r\n", b"length: 2\r"),
        (b"length: 2\r\n", b"length: 2\r\r\n"),
        (b"\r\ncontent", b"\ncontent"),
        (b"y\r\n\r\n", b"y\r\r\n\r\n"),
    ],
)
def test_an_answer_that_differs_in_where_a_line_ends_is_read(was: bytes, now: bytes) -> None:
    landing = Landing()
    like = b"HTTP/1.1 200 OK\r\nDate: today\r\nServer: x\r\ncontent-length: 2\r\nVary: y\r\n\r\nok"
    for data in (like, like.replace(b"Date: today\r\n", b"")):
        assert landing.answer(data, b"", b"", keep=True, now_s=0.0) is not None
    changed = like.replace(was, now, 1)
    assert changed != like
    assert landing.answer(changed, b"", b"", keep=True, now_s=0.0) is None


def test_an_answer_of_another_day_is_like_it_wherever_its_date_stands() -> None:
    landing = Landing()
    for like in (b"Date: %b\r\ncontent-length: 2", b"content-length: 2\r\ndate: %b"):
        for date in (b"today", b"tomorrow"):
            data = b"HTTP/1.1 200 OK\r\n%b\r\nServer: x\r\n\r\nok" % (like % date)
            assert landing.answer(data, b"", b"", keep=True, now_s=0.0) is not None
    assert len(landing) == 1


def test_lengths_of_answers_that_are_known_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.edge.landing.LENGTHS_MAX", 2)
    landing = Landing()
    for sent, body in [(b"%d" % size, b"x" * size) for size in range(6)] * 2 + [(b"02", b"ok")]:
        data = b"HTTP/1.1 200 OK\r\ncontent-length: %b\r\n\r\n%b"
        assert landing.answer(data % (sent, body), b"", b"", keep=True, now_s=0.0) is not None
        assert landing.answer(data % (sent, body + b"x"), b"", b"", keep=True, now_s=0.0) is None
        assert len(landing._lengths) <= 2
    for sent in (b"-1", b"", b"+0", b"0 ", b"9" * 16):
        assert landing.answer(data % (sent, b""), b"", b"", keep=True, now_s=0.0) is None


def test_of_answers_nothing_is_kept_that_may_speak_of_somebody() -> None:
    landing = Landing()
    for line in (
        b"set-cookie: a=b",
        b"etag: x",
        b"location: /orders/1",
        b"x-request-id: 1",
        b"server: x",
        b"date: today",
    ):
        data = b"HTTP/1.1 200 OK\r\n%b\r\ncontent-length: 2\r\n\r\nok" % line
        for _ in range(2):
            assert landing.answer(data, b"", b"", keep=True, now_s=0.0) is not None
    assert len(landing) == 2
    assert landing.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"", b"", keep=False, now_s=KEPT_S + 1) == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
    assert len(landing) == 1
