"""Wire-level cases, bytes in and the service's bytes watched: what is ambiguous reaches nobody, what goes on is what was decided."""

from pathlib import Path

import pytest

from tests.stands.edge_wire import PATH, Service, facing, fields_of
from tests.stands.product_loop import anyio_backend

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio


# --- refused, and nothing of it forwarded --------------------------------------------------------------------------------------


SMUGGLED = b"GET /orders/smuggled HTTP/1.1\r\nHost: eu.example.com\r\n\r\n"
POST = b"POST %b HTTP/1.1" % PATH
REFUSED = {
    "both_lengths": (POST, b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n", 400),
    "both_the_other_way": (POST, b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n", 400),
    "length_twice": (POST, b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc", 400),
    "lengths_differ": (POST, b"Content-Length: 3\r\nContent-Length: 30\r\n", b"abc", 400),
    "length_list": (POST, b"Content-Length: 3, 3\r\n", b"abc", 400),
    "length_signed": (POST, b"Content-Length: +3\r\n", b"abc", 400),
    "length_negative": (POST, b"Content-Length: -3\r\n", b"abc", 400),
    "length_hexadecimal": (POST, b"Content-Length: 0x3\r\n", b"abc", 400),
    "length_inner_space": (POST, b"Content-Length: 3 3\r\n", b"abc", 400),
    "length_space_after": (POST, b"Content-Length: 3 \r\n", b"abc", 400),
    "length_huge": (POST, b"Content-Length: 9999999999999999\r\n", b"abc", 400),
    "length_empty": (POST, b"Content-Length:\r\n", b"", 400),
    "length_other_digits": (POST, b"Content-Length: \xb2\r\n", b"ab", 400),
    "space_before_colon": (POST, b"Content-Length : 3\r\n", b"abc", 400),
    "coding_not_chunked": (POST, b"Transfer-Encoding: gzip\r\n", b"abc", 400),
    "coding_before_chunked": (POST, b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n", 400),
    "coding_after_chunked": (POST, b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n", 400),
    "coding_twice": (POST, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n", 400),
    "coding_disguised": (POST, b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n", 400),
    "coding_vertical_tab": (POST, b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n", 400),
    "coding_quoted": (POST, b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n", 400),
    "coding_on_1_0": (b"POST %b HTTP/1.0" % PATH, b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", 400),
    "coding_folded": (POST, b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n", 400),
    "bare_lf": (POST, b"X-A: b\nContent-Length: 3\r\n", b"abc", 400),
    "bare_cr": (POST, b"X-A: b\rContent-Length: 3\r\n", b"abc", 400),
    "nul": (POST, b"X-A: \x00\r\n", b"", 400),
    "host_twice": (b"GET %b HTTP/1.1" % PATH, b"Host: eu.example.com\r\n", b"", 400),
    "authorization_twice": (b"GET %b HTTP/1.1" % PATH, b"Authorization: Bearer x\r\n", b"", 401),
    "two_spaces": (b"GET  %b HTTP/1.1" % PATH, b"", b"", 400),
    "no_version": (b"GET %b" % PATH, b"", b"", 400),
    "http_2": (b"GET %b HTTP/2.0" % PATH, b"", b"", 505),
    "fragment": (b"GET %b#a HTTP/1.1" % PATH, b"", b"", 400),
    "asterisk": (b"OPTIONS * HTTP/1.1", b"", b"", 400),
    "no_scheme": (b"GET eu.example.com/orders/1 HTTP/1.1", b"", b"", 400),
    "other_scheme": (b"GET file:///orders/1 HTTP/1.1", b"", b"", 400),
    "user_in_authority": (b"GET http://a@eu.example.com/orders/1 HTTP/1.1", b"", b"", 400),
    "no_host_in_authority": (b"GET http://:80/orders/1 HTTP/1.1", b"", b"", 400),
    "connect": (b"CONNECT eu.example.com:443 HTTP/1.1", b"", b"", 405),
    "connect_to_a_service": (b"CONNECT %b HTTP/1.1" % PATH, b"", b"", 405),
    "connect_in_lower_case": (b"connect %b HTTP/1.1" % PATH, b"", b"", 405),
    "connect_absolute": (b"CONNECT http://eu.example.com/orders/1 HTTP/1.1", b"", b"", 405),
    "connect_to_an_anonymous_path": (b"CONNECT /orders/health HTTP/1.1", b"", b"", 405),
    "connect_to_health": (b"CONNECT /healthz HTTP/1.1", b"", b"", 405),
    "connect_to_metrics": (b"CONNECT /metrics HTTP/1.1", b"", b"", 405),
    "connect_to_a_preview": (b"CONNECT /.well-known/domicile/preview HTTP/1.1", b"", b"", 405),
    "connect_to_a_websocket": (
        b"CONNECT %b HTTP/1.1" % PATH,
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        b"",
        400,
    ),
    "trace": (b"TRACE %b HTTP/1.1" % PATH, b"", b"", 405),
    "dot_segments": (b"GET /orders/../records/x HTTP/1.1", b"", b"", 400),
    "dot_segments_encoded": (b"GET /orders/%2e%2e/records/x HTTP/1.1", b"", b"", 400),
    "dot_segments_encoded_twice": (b"GET /orders/%252e%252e/records/x HTTP/1.1", b"", b"", 400),
    "dot_segments_behind_an_encoded_slash": (b"GET /orders%2f..%2frecords/x HTTP/1.1", b"", b"", 400),
    "dot_segments_before_an_encoded_query": (b"GET /orders/..%3fx HTTP/1.1", b"", b"", 400),
    "dot_segments_before_an_encoded_fragment": (b"GET /orders/%2e.%2523 HTTP/1.1", b"", b"", 400),
    "dot_segments_before_an_encoded_nul": (b"GET /orders/..%00/records HTTP/1.1", b"", b"", 400),
    "dot_segments_with_a_parameter": (b"GET /orders/..;x=1/records HTTP/1.1", b"", b"", 400),
    "dot_segments_behind_a_backslash": (b"GET /orders\\..\\records HTTP/1.1", b"", b"", 400),
    "service_with_a_parameter": (b"GET /orders;x/1 HTTP/1.1", b"", b"", 404),
    "service_with_an_encoded_slash": (b"GET /orders%2frecords HTTP/1.1", b"", b"", 404),
    "service_encoded": (b"GET /%6frders/1 HTTP/1.1", b"", b"", 404),
    "empty_first_segment": (b"GET //orders/1 HTTP/1.1", b"", b"", 404),
    "expectation": (POST, b"Expect: a-miracle\r\nContent-Length: 3\r\n", b"abc", 417),
    "target_too_long": (b"GET /orders/%b HTTP/1.1" % (b"x" * 17_000), b"", b"", 414),
    "fields_too_many": (b"GET %b HTTP/1.1" % PATH, b"a: b\r\n" * 130, b"", 431),
    "head_too_large": (b"GET %b HTTP/1.1" % PATH, b"X-A: %b\r\n" % (b"x" * 70_000), b"", 431),
    "upgrade_with_a_body": (POST, b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n", b"abc", 400),
}  # fmt: skip
AND_GOES_ON = {"service_with_an_encoded_slash", "service_encoded", "empty_first_segment", "asterisk",
               "dot_segments", "dot_segments_encoded", "dot_segments_encoded_twice", "dot_segments_behind_an_encoded_slash",
               "dot_segments_before_an_encoded_query", "dot_segments_before_an_encoded_fragment", "dot_segments_before_an_encoded_nul",
               "dot_segments_with_a_parameter", "dot_segments_behind_a_backslash", "service_with_a_parameter"}  # fmt: skip
"""Well-formed messages that ask for what there is not: their connection may be kept. After all others it ends."""


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_reaches_no_service_and_neither_does_what_stands_behind_it(
    folder: Path, name: str
) -> None:
    line, fields, body, status = REFUSED[name]
    service = Service()
    async with facing(folder, service) as client:
        await client.send(client.request(line, fields, body) + (b"" if name in AND_GOES_ON else SMUGGLED))
        told, answered, document = await client.answer()
        assert (told, answered["content-type"]) == (status, "application/problem+json")
        assert b'"detail":"' in document
        if name not in AND_GOES_ON:
            assert answered["connection"] == "close"
            assert await client.rest() == b""
        assert service.received == 0


@pytest.mark.parametrize("missing", [b"", b"Host: eu.example.com:port\r\n", b"Host: a b\r\n"])
async def test_a_request_without_one_proper_host_reaches_no_service(folder: Path, missing: bytes) -> None:
    service = Service()
    async with facing(folder, service) as client:
        await client.send(b"GET %b HTTP/1.1\r\n%b%b\r\n" % (PATH, missing, client.token))
        assert (await client.answer())[0] == 400
        assert service.received == 0


@pytest.mark.parametrize(
    "broken", [b"3\r\nabcd\r\n", b"+1\r\na\r\n", b"1;" + b"x" * 600, b"0\r\nX-A : b\r\n\r\n", b"1\na\r\n", b"g\r\n"]
)
async def test_a_body_whose_chunks_break_is_no_whole_request_to_the_service(folder: Path, broken: bytes) -> None:
    service = Service()
    async with facing(folder, service) as client:
        await client.send(client.request(POST, b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n" + broken + SMUGGLED))
        found = await client.rest()
        assert found.startswith(b"HTTP/1.1 400 ")
        assert found.count(b"HTTP/1.1") == 1
        assert service.seen == []


# --- what goes on ------------------------------------------------------------------------------------------------------------


async def gone_on(
    folder: Path, line: bytes, fields: bytes = b"", body: bytes = b""
) -> tuple[bytes, dict[str, str], bytes]:
    """Request line, fields and body as the service saw them."""
    service = Service()
    async with facing(folder, service) as client:
        await client.send(client.request(line, fields, body))
        assert (await client.answer())[0] == 200
    head, _, seen = service.seen[0].partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0], fields_of(head + b"\r\n\r\n"), seen


@pytest.mark.parametrize(
    "target",
    [
        b"/orders/a%2Fb;c/%7e?q=%00&x=%zz&y=a/../b",
        b"/orders?",
        b"/orders/",
        b"/orders/*:@!$&'()+,=",
        b"/orders/a//b?c?d",
    ],
)
async def test_a_target_goes_on_byte_for_byte(folder: Path, target: bytes) -> None:
    line, _, _ = await gone_on(folder, b"GET %b HTTP/1.1" % target)
    assert line == b"GET %b HTTP/1.1" % target


@pytest.mark.parametrize("target", [b"/orders/1?x=1", b"/orders?", b"/orders/a%2Fb?%00"])
async def test_an_absolute_form_goes_on_as_a_path_and_its_authority_stands_for_the_host(
    folder: Path, target: bytes
) -> None:
    line, fields, _ = await gone_on(folder, b"GET http://Shop.example:8080%b HTTP/1.1" % target)
    assert line == b"GET %b HTTP/1.1" % target
    assert fields["x-forwarded-host"] == "Shop.example:8080"


async def test_fields_of_this_hop_and_of_the_house_end_here_and_via_grows(folder: Path) -> None:
    sent = (
        b"Connection: keep-alive, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Connection: close\r\n"
        b"Domicile-Decision: v1.forged\r\nDomicile-Cell: us-va\r\ndomicile_epoch: 9\r\nX-Forwarded-For: 203.0.113.9\r\nForwarded: for=x\r\n"
        b"X_Forwarded_For: 203.0.113.9\r\nX-Original-URL: /records\r\nVia: 1.0 fred\r\nX-Kept: a, b\r\nX-Kept: c\r\n"
    )
    _, fields, _ = await gone_on(folder, b"GET %b HTTP/1.1" % PATH, sent)
    assert fields["via"] == "1.0 fred, 1.1 domicile"
    assert fields["x-forwarded-for"] == "127.0.0.1"
    assert fields["domicile-decision"] != "v1.forged"
    assert fields["x-kept"] == "c"
    ended = {
        "connection",
        "x-secret",
        "keep-alive",
        "te",
        "proxy-connection",
        "domicile-cell",
        "domicile_epoch",
        "forwarded",
    }
    assert not (ended | {"x_forwarded_for", "x-original-url", "authorization"}) & fields.keys()


SPOOFED = {
    "domicile-decision": (b"Domicile-Decision: v1.forged", "v1.r1."),
    "x-forwarded-for": (b"X-Forwarded-For: 203.0.113.9", "127.0.0.1"),
    "x-forwarded-host": (b"X-Forwarded-Host: evil.example", "eu.example.com"),
    "x-forwarded-proto": (b"X-Forwarded-Proto: https", "http"),
    "host": (b"X-Original-Host: evil.example", "127.0.0.1:"),
    "traceparent": (b"Traceparent: nonsense", "00-"),
}
"""What a client sends, each twice, and how the one value begins that its service gets under the name."""


@pytest.mark.parametrize("name", SPOOFED)
async def test_what_a_client_claims_twice_is_stated_once_by_the_gateway(folder: Path, name: str) -> None:
    claimed, stated = SPOOFED[name]
    service = Service()
    async with facing(folder, service) as client:
        underscored = claimed.replace(b"-", b"_", 1)
        await client.send(client.request(fields=b"%b\r\n%b\r\n%b\r\n" % (claimed, claimed, underscored)))
        assert (await client.answer())[0] == 200
    lines = service.seen[0].lower().split(b"\r\n")
    assert [
        line.partition(b": ")[2].startswith(stated.encode())
        for line in lines
        if line.startswith(b"%b:" % name.encode())
    ] == [True]
    assert not any(b"evil" in line or b"203.0.113.9" in line or b"forged" in line for line in lines)


async def test_what_connection_names_takes_nothing_from_what_the_gateway_states(folder: Path) -> None:
    """Of the request: the fields of the gateway are those of its own hop."""
    stated = (b"Domicile-Decision", b"Traceparent", b"Via", b"X-Forwarded-For", b"Host", b"Content-Length")
    named = b"Connection: %b, Authorization, Domicile-For\r\n" % b", ".join(stated)
    _, fields, body = await gone_on(folder, POST, named + b"Content-Length: 3\r\n", b"abc")
    assert {name.decode().lower() for name in stated} <= fields.keys()
    assert body == b"abc"


ODD = [b"X.Forwarded.For: 203.0.113.9", b"X!Real~IP: 203.0.113.9", b"Transfer|Encoding: chunked", b"Content_Length: 30",
       b"Domicile.Decision: v1.forged", b"SCRIPT_NAME: /orders", b"Script-Name: /orders", b"PATH_INFO: /records", b"REMOTE_USER: bob",
       b"X.HTTP.Method.Override: DELETE"]  # fmt: skip
"""Names that some servers fold into others, or take for a path, a person or a framing of their own."""


@pytest.mark.parametrize("line", ODD)
async def test_a_name_that_some_servers_take_for_another_ends_here(folder: Path, line: bytes) -> None:
    service = Service()
    async with facing(folder, service) as client:
        await client.send(client.request(fields=line + b"\r\nX_Plain: 1\r\nX.Plain: 2\r\n"))
        assert (await client.answer())[0] == 200
    seen = service.seen[0].lower()
    assert line.partition(b":")[0].lower() + b":" not in seen
    assert (b"x_plain: 1" in seen, b"x.plain: 2" in seen) == (True, True)


async def test_options_is_passed_on_as_often_as_it_says(folder: Path) -> None:
    """RFC 9110 section 7.6.2. Of any other method it says nothing."""
    service = Service()
    async with facing(folder, service) as client:
        for method, stated in [(b"OPTIONS", b"3"), (b"OPTIONS", b"1"), (b"GET", b"0"), (b"OPTIONS", b"")]:
            field = b"Max-Forwards: %b\r\n" % stated if stated else b""
            await client.send(client.request(b"%b %b HTTP/1.1" % (method, PATH), field))
            assert (await client.answer())[0] == 200
        assert [fields_of(seen).get("max-forwards") for seen in service.seen] == ["2", "0", "0", None]
        for fields in (b"Max-Forwards: 0\r\n", b"Max-Forwards: -1\r\n", b"Max-Forwards: 2\r\nMax-Forwards: 2\r\n"):
            await client.send(client.request(b"OPTIONS %b HTTP/1.1" % PATH, fields))
            status, answered, _ = await client.answer()
            assert (status, "GET" in answered["allow"]) == (204, True)
        assert len(service.seen) == 4


async def test_via_names_the_protocol_that_the_request_came_by(folder: Path) -> None:
    _, fields, _ = await gone_on(folder, b"GET %b HTTP/1.0" % PATH, b"Via: 1.1 fred\r\n")
    assert fields["via"] == "1.1 fred, 1.0 domicile"


async def test_chunks_go_on_as_what_they_mean_without_extensions_and_trailers(folder: Path) -> None:
    chunks = b"3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nX-Admin: 1\r\nAuthorization: x\r\n\r\n"
    _, fields, body = await gone_on(folder, POST, b"Transfer-Encoding: chunked\r\nTrailer: X-Admin\r\n", chunks)
    framed = fields.get("content-length") == "4" and body == b"abcd"
    assert framed or (fields["transfer-encoding"], body) == ("chunked", b"4\r\nabcd\r\n0\r\n\r\n")
    assert not {"x-admin", "trailer", "authorization"} & fields.keys()


async def test_requests_sent_ahead_are_answered_one_after_the_other(folder: Path) -> None:
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number for number in range(4)]
    service = Service(*answers)
    async with facing(folder, service) as client:
        first = client.request(b"GET /orders/0 HTTP/1.1")
        second = client.request(b"POST /orders/1 HTTP/1.1", b"Content-Length: 3\r\n", b"abc")
        third = client.request(b"POST /orders/2 HTTP/1.1", b"Transfer-Encoding: chunked\r\n", b"1\r\na\r\n0\r\n\r\n")
        await client.send(first + second + third + client.request(b"GET /orders/3 HTTP/1.1"))
        assert [(await client.answer())[2] for _ in range(4)] == [b"0", b"1", b"2", b"3"]
    assert [request.split(b" ")[1] for request in service.seen] == [b"/orders/%d" % number for number in range(4)]


async def test_100_continue_is_asked_for_by_the_verdict_and_does_not_go_on(folder: Path) -> None:
    service = Service()
    async with facing(folder, service) as client:
        await client.send(client.request(POST, b"Expect: 100-continue\r\nContent-Length: 3\r\n"))
        assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert service.received == 0
        await client.send(b"abc")
        assert (await client.answer())[0] == 200
    assert service.seen[0].endswith(b"\r\n\r\nabc")
    assert b"expect" not in service.seen[0].lower()


async def test_100_continue_asks_for_a_body_that_is_streamed_too(folder: Path) -> None:
    service = Service()
    async with facing(folder, service) as client:
        await client.send(client.request(POST, b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n"))
        assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"3\r\nabc\r\n0\r\n\r\n")
        assert (await client.answer())[0] == 200
    assert b"expect" not in service.seen[0].lower()


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_what_is_refused_asks_for_no_body_and_what_is_not_asked_for_may_not_come(
    folder: Path, version: bytes
) -> None:
    """RFC 9110 section 10.1.1: HTTP/1.0 knows no 100; after a refusal nobody knows whether the body will come."""
    service = Service()
    async with facing(folder, service) as client:
        client.token = b""
        await client.send(
            client.request(b"POST %b HTTP/%b" % (PATH, version), b"Expect: 100-continue\r\nContent-Length: 3\r\n")
        )
        found = await client.rest()
        assert found.startswith(b"HTTP/1.1 401 ")
        assert found.count(b"HTTP/1.1") == 1
    assert service.received == 0


async def test_an_expectation_of_http_1_0_is_ignored(folder: Path) -> None:
    service = Service()
    async with facing(folder, service) as client:
        line = b"POST %b HTTP/1.0" % PATH
        await client.send(client.request(line, b"Expect: 100-continue\r\nContent-Length: 3\r\n"))
        await client.send(b"abc")
        assert (await client.rest()).startswith(b"HTTP/1.1 200 ")


async def test_a_client_of_http_1_0_gets_no_chunks_and_the_end_of_its_connection(folder: Path) -> None:
    service = Service(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    async with facing(folder, service) as client:
        await client.send(client.request(b"GET %b HTTP/1.0" % PATH))
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert (body, fields_of(head + b"\r\n\r\n")["connection"]) == (b"abc", "close")
        assert b"transfer-encoding" not in head.lower()
