"""The session cookie at the head of a request: taken, never passed on, and read as it was sent."""

from hypothesis import given
from hypothesis import strategies as st

from foundation.problems import Problem
from gateway.edge.headers import read_request
from gateway.travel.session import take_session
from tests.stands.rules import rules

POLICY = rules().policy
NAME = "__Host-session"
OWN = POLICY.regions["eu"].origin.encode()

pairs = st.sampled_from(
    [b"__Host-session=tok", b"a=1", b"__Host-session", b"__Host-session =x", b"", b"b=__Host-session=y", b" c=2 "]
)


def test_cookies_that_connection_names_end_here_with_the_session() -> None:
    headers = [(b"cookie", b"__Host-session=tok; a=1"), (b"connection", b"cookie")]
    fields = read_request([(b"host", b"x"), *headers])
    assert not isinstance(fields, Problem)
    assert take_session(fields, headers, NAME, "GET", POLICY) is True
    assert fields.kept == []


cookie_headers = st.lists(st.lists(pairs, max_size=4).map(b";".join).map(lambda value: (b"cookie", value)), max_size=3)
others = st.lists(
    st.sampled_from(
        [(b"origin", OWN), (b"origin", b"https://evil.example"), (b"sec-fetch-site", b"cross-site"), (b"x", b"1")]
    ),
    max_size=3,
)


@given(cookie_headers, others, st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS"]))
def test_the_session_never_goes_on_and_writes_need_an_origin_of_ours(
    cookies: list[tuple[bytes, bytes]], more: list[tuple[bytes, bytes]], method: str
) -> None:
    headers = [*more, *cookies]
    fields = read_request([(b"host", b"x"), *headers])
    assert not isinstance(fields, Problem)
    navigates = take_session(fields, headers, NAME, method, POLICY)
    sent = [pair.strip() for _, value in cookies for pair in value.split(b";") if pair.strip()]
    going_on = [pair.strip() for line in fields.kept if line.startswith(b"cookie: ") for pair in line[8:].split(b";")]
    names = [pair.partition(b"=")[0].strip() for pair in going_on]
    tokens = [pair for pair in sent if pair.partition(b"=")[0].strip() == NAME.encode()]
    assert NAME.encode() not in names
    assert not tokens or [pair for pair in going_on if pair] == [pair for pair in sent if pair not in tokens]
    if isinstance(navigates, Problem):
        assert tokens
        return
    assert (fields.authorization is not None) == bool(tokens)
    if tokens and method in ("POST", "DELETE"):
        assert [value for name, value in more if name == b"origin"] == [OWN]
        assert (b"sec-fetch-site", b"cross-site") not in more
    assert not navigates or (bool(tokens) and method in ("GET", "HEAD"))
