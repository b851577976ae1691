"""Browsers: the token in policy's session cookie instead of `Authorization`. Pure.

The cookie never goes on to a service, on anonymous routes neither. Since browsers send cookies whoever asks them to, what is not safe (RFC
9110 section 9.2.1), and an upgrade, is taken only from pages of the product's own origins (`Origin`; RFC 6454 section 7), and never where
`Sec-Fetch-Site` says cross-site. An `Authorization` header counts before the cookie.
"""

from collections.abc import Sequence

from foundation.problems import Code, Problem
from foundation.words import Verb, verb_of_method
from gateway.edge.headers import RequestFields
from routing_rules.policy import Policy

Pairs = Sequence[tuple[bytes, bytes]]
_TWICE = Problem(code=Code.MALFORMED_TOKEN, detail="the session cookie stands twice")
_FOREIGN = Problem(
    code=Code.FORBIDDEN, detail="by session cookie this is taken from pages of the product's own origins only"
)


def take_session(fields: RequestFields, headers: Pairs, cookie: str, method: str, policy: Policy) -> bool | Problem:
    """Moves the token of the session cookie into `authorization`. Whether this is a browser's navigation, which may be redirected."""
    tokens = drop_session(fields, headers, cookie)
    if not tokens or fields.authorization is not None:
        return False
    if len(tokens) > 1:
        return _TWICE
    fields.authorization = b"Bearer " + tokens[0]
    if (verb_of_method(method) is not Verb.READ or fields.upgrades) and not _own_page(headers, policy):
        return _FOREIGN
    return method in ("GET", "HEAD") and _one(headers, b"sec-fetch-mode") in (None, b"navigate")


def drop_session(fields: RequestFields, headers: Pairs, cookie: str) -> list[bytes]:
    """Takes the session cookie out of what goes on; the values that it had."""
    name = cookie.encode("ascii")
    cookies = [pair.strip() for key, value in headers if key == b"cookie" for pair in value.split(b";")]
    tokens = [pair.partition(b"=")[2].strip() for pair in cookies if _names(pair, name)]
    if not tokens:
        return []
    others = [pair for pair in cookies if pair and not _names(pair, name)]
    kept = [line for line in fields.kept if not line.startswith(b"cookie: ")]
    if others and len(kept) < len(fields.kept):  # else `Connection` named the field, which ends here
        kept.append(b"cookie: %b\r\n" % b"; ".join(others))
    fields.kept = kept
    return tokens


def _names(pair: bytes, name: bytes) -> bool:
    return pair.partition(b"=")[0].strip() == name


def _own_page(headers: Pairs, policy: Policy) -> bool:
    origin = _one(headers, b"origin")
    own = {_as_sent(region.origin) for region in policy.regions.values()}
    return origin in own and _one(headers, b"sec-fetch-site") != b"cross-site"


def _as_sent(origin: str) -> bytes:
    """An origin as browsers write it: lower case, without its scheme's own port (RFC 6454 section 6.2)."""
    lowered = origin.lower()
    own_port = ":443" if lowered.startswith("https:") else ":80"
    return lowered.removesuffix(own_port).encode()


def _one(headers: Pairs, name: bytes) -> bytes | None:
    """The field's value; one that stands twice is none of those expected."""
    found = [value for key, value in headers if key == name]
    return None if not found else found[0] if len(found) == 1 else b", ".join(found)
