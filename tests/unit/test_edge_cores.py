"""The edge's pure parts: targets, header hygiene, client addresses, skew."""

import pytest

from foundation.problems import Code, Problem
from foundation.words import CellId, ServiceId
from gateway.edge import headers
from gateway.edge.declared import residence_of
from gateway.edge.headers import read_request, read_response
from gateway.edge.target import Route, Target, climbs, query_value, target_of
from gateway.identity.address import client_address, networks
from gateway.skew import skew_s
from routing_rules.policy import Service

SERVICES = {
    ServiceId("orders"): Service(
        purpose="service",
        anonymous=("/orders/health",),
        signup=("/orders/sign-up",),
        hosts={CellId("eu-de"): ("127.0.0.1:1",)},
    ),
    ServiceId("records"): Service(purpose="service", hosts={CellId("eu-de"): ("127.0.0.1:2",)}),
}


def target(method: str, path: bytes) -> Target | Problem:
    return target_of(method, path, SERVICES)


@pytest.mark.parametrize(
    "path", [b"/orders", b"/orders/", b"/orders/1", b"/orders/a%2Fb", b"/orders/..a", b"/orders/a..b"]
)
def test_the_first_raw_segment_names_the_service(path: bytes) -> None:
    assert target("GET", path) == Target(ServiceId("orders"), Route.ORDINARY)


@pytest.mark.parametrize(
    "path", [b"/", b"//orders", b"/order", b"/ORDERS/1", b"/%6frders/1", b"/orders%2f1", b"/\xffx"]
)
def test_what_is_no_declared_name_byte_for_byte_is_no_service(path: bytes) -> None:
    found = target("GET", path)
    assert isinstance(found, Problem)
    assert found.code is Code.UNKNOWN_SERVICE


@pytest.mark.parametrize(
    "path",
    [
        b"/orders/../records/x", b"/orders/..", b"/orders/./x", b"/orders/%2e%2e/records", b"/orders/.%2E/records",
        b"/orders/%252e%252e/records", b"/orders%2f..%2frecords/x", b"/orders/a%2f..%2f..%2frecords", b"/orders/..;x/records",
        b"/orders\\..\\records", b"/orders/..%5crecords",
    ],
)  # fmt: skip
def test_a_path_that_may_climb_is_refused(path: bytes) -> None:
    found = target("GET", path)
    assert isinstance(found, Problem)
    assert found.code is Code.BAD_REQUEST
    assert climbs(path)


def test_policy_names_anonymous_and_sign_up_routes_exactly() -> None:
    assert target("GET", b"/orders/health") == Target(ServiceId("orders"), Route.ANONYMOUS)
    assert target("GET", b"/orders/health/") == Target(ServiceId("orders"), Route.ORDINARY)
    assert target("POST", b"/orders/sign-up") == Target(ServiceId("orders"), Route.SIGNUP)
    assert target("GET", b"/orders/sign-up") == Target(ServiceId("orders"), Route.ORDINARY)
    assert target("POST", b"/orders/%73ign-up") == Target(ServiceId("orders"), Route.ORDINARY)


def test_query_values_are_decoded_and_none_is_chosen_among_several() -> None:
    assert query_value(b"a=1&residence=D%45", b"residence") == "DE"
    assert query_value(b"a=1&%72esidence=DE", b"residence") == "DE"
    assert query_value(b"xresidence=US", b"residence") is None
    for both in (b"residence=DE&residence=US", b"residence=DE&%72esidence=US", b"residence=DE&residence=DE"):
        assert isinstance(residence_of(query_value(both, b"residence")), Problem)


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "connect", "Trace"])
def test_methods_that_tunnel_or_mirror_go_no_further(method: str) -> None:
    found = target(method, b"/orders")
    assert isinstance(found, Problem)
    assert found.code is Code.METHOD_NOT_ALLOWED


# --- headers -----------------------------------------------------------------------------------------------------------------


def kept(headers: list[tuple[bytes, bytes]]) -> set[bytes]:
    fields = read_request([(b"host", b"x"), *headers])
    assert not isinstance(fields, Problem)
    return {line.partition(b":")[0] for line in fields.kept}


def test_hop_by_hop_credentials_and_house_headers_do_not_go_on() -> None:
    names = [
        b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"proxy-authorization", b"proxy-connection", b"authorization",
        b"domicile-decision", b"domicile_decision", b"domicile-cell", b"domicile-hop", b"forwarded", b"x-forwarded-for", b"x-real-ip",
        b"x-forwarded-proto", b"x-forwarded-host", b"via", b"traceparent",
        b"x_forwarded_for", b"x-forwarded_host", b"x_real_ip", b"transfer_encoding", b"content_length",
        b"x-forwarded-port", b"x-forwarded-prefix", b"x_forwarded_prefix", b"x-original-url", b"x-rewrite-url",
        b"x-http-method-override", b"x_http_method_override", b"x-method-override",
        b"x.forwarded.for", b"x!real~ip", b"x-forwarded.port", b"script_name", b"path-info", b"remote_user", b"domicile.hop",
    ]  # fmt: skip
    assert kept([(name, b"x") for name in names] + [(b"expect", b"100-Continue"), (b"accept", b"*/*")]) == {b"accept"}
    assert kept([(b"x_plain", b"1"), (b"x.plain", b"1")]) == {b"x_plain", b"x.plain"}


def test_nothing_that_is_the_edges_own_is_among_what_needs_no_look() -> None:
    own = (b"domicile", b"x-forwarded-", b"x_forwarded_")
    assert not any(name.startswith(own) or not name.replace(b"-", b"").isalnum() for name in headers._USUAL)
    assert headers._USUAL.isdisjoint(headers._SPECIAL_REQUEST)


def test_fields_that_connection_names_do_not_go_on() -> None:
    headers = [
        (b"connection", b"close, X-Secret"), (b"x-secret", b"1"), (b"x-open", b"1"),
        (b"connection", b"x-other"), (b"x-other", b"1"),
    ]  # fmt: skip
    assert kept(headers) == {b"x-open"}


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-length", b"1"), (b"content-length", b"1")],
        [(b"content-length", b"-1")],
        [(b"content-length", b"9" * 40)],
        [(b"content-length", b"3"), (b"transfer-encoding", b"chunked")],
        [(b"transfer-encoding", b"gzip, chunked")],
        [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
        [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")],
        [(b"connection", b",".join([b"a"] * 40))],
        [(b"host", b"a")],
        [(b"expect", b"a miracle")],
        [(b"connection", b"Upgrade"), (b"upgrade", b"h2c"), (b"content-length", b"3")],
        [(b"upgrade", b"h2c"), (b"connection", b"http2-settings, upgrade"), (b"transfer-encoding", b"chunked")],
    ],
)
def test_ambiguous_framing_or_credentials_are_refused(headers: list[tuple[bytes, bytes]]) -> None:
    assert isinstance(read_request([(b"host", b"x"), *headers]), Problem)


@pytest.mark.parametrize("host", [b"user@a", b"a/b", b"a:b", b"a b", b"[::1", b"a:123456", b"a, b"])
def test_a_host_is_a_host_and_a_port(host: bytes) -> None:
    assert isinstance(read_request([(b"host", host)]), Problem)


def test_only_http_1_0_may_name_no_host_and_have_no_chunks() -> None:
    assert isinstance(read_request([]), Problem)
    assert not isinstance(read_request([], minor=0), Problem)
    assert isinstance(read_request([(b"transfer-encoding", b"chunked")], minor=0), Problem)


@pytest.mark.parametrize("name", [b"domicile-for", b"domicile_for"])
def test_acting_for_somebody_is_noticed(name: bytes) -> None:
    fields = read_request([(b"host", b"x"), (name, b"x")])
    assert not isinstance(fields, Problem)
    assert fields.acts_for is not None


def test_answers_lose_house_headers_and_framing_and_keep_the_rest() -> None:
    headers = [
        (b"content-type", b"text/plain"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"transfer-encoding", b"chunked"),
        (b"domicile-refusal", b"stale_epoch"), (b"connection", b"x-hop"), (b"x-hop", b"1"), (b"content-length", b"5"),
    ]  # fmt: skip
    answer = read_response(headers, status=200, head_only=False)
    assert answer == [
        (b"content-type", b"text/plain"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"content-length", b"5"),
    ]
    assert (b"content-length", b"5") not in read_response(headers, status=304, head_only=False)
    assert (b"content-length", b"5") in read_response(headers, status=200, head_only=True)
    assert (b"content-length", b"5") in read_response(headers, status=304, head_only=True)
    assert (b"content-length", b"5") not in read_response(headers, status=204, head_only=True), "RFC 9110 section 8.6"
    many = [(b"connection", b",".join([b"x-hop", *[b"a"] * 40])), (b"x-hop", b"1")]
    assert read_response(many, status=200, head_only=False) == []


# --- addresses ---------------------------------------------------------------------------------------------------------------

PROXIES = networks(["10.0.0.0/8", "::1/128"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", [b"198.51.100.7"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b"198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", [b"6.6.6.6, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", [b"198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", [b"6.6.6.6", b"198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", [b"198.51.100.7, junk, 10.0.0.2"], "10.0.0.2"),
        ("::1", [b"[2001:db8::1]:443"], "2001:db8::1"),
        ("::ffff:10.0.0.1", [b"198.51.100.7:1234"], "198.51.100.7"),
        ("::1", [b"fe80::1%eth0"], "fe80::1"),
        ("::1", [b"[fe80::1%\xfc\x0b]:443"], "fe80::1"),
        ("10.0.0.1", [b"198.51.100.7%eth0"], "10.0.0.1"),
    ],
)
def test_the_rightmost_untrusted_hop_is_the_client(peer: str, forwarded: list[bytes], expected: str) -> None:
    assert str(client_address(peer, forwarded, PROXIES)) == expected


def test_skew_is_the_least_that_explains_the_date() -> None:
    date = "Tue, 15 Nov 1994 08:12:31 GMT"
    theirs = 784887151.0
    assert skew_s(date, theirs + 0.1, theirs + 0.2) == 0
    assert skew_s(date, theirs + 1.9, theirs + 2.0) == 0
    assert skew_s(date, theirs + 10, theirs + 10.1) == 8
    assert skew_s(date, theirs - 10, theirs - 9) == 9
    assert skew_s("soon", 0, 0) is None
