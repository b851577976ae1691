"""Whom the limit by address counts a request for: the client's own address, as `gateway.identity.address` believes it."""

from collections.abc import Sequence
from typing import AnyStr

from gateway.identity.address import Network, client_address, counted_as, parse, trusted

KNOWN_MAX = 4_096
SAID_BYTES_MAX = 64
"""Longest `X-Forwarded-For` whose reading is remembered."""


class Callers:
    """Reading an address takes longer than counting it, so the latest readings are remembered."""

    def __init__(self, proxies: tuple[Network, ...]) -> None:
        """`proxies` are those whose X-Forwarded-For is believed."""
        self._proxies = proxies
        self._peers: dict[str, str | None] = {}
        self._said: dict[bytes, str | None] = {}

    def of(self, peer: str, forwarded_for: Sequence[bytes]) -> str | None:
        """An address, or the /64 of an IPv6 one. None where only trusted proxies are known to have a part in the request: it is one of
        theirs, such as a health check, or a proxy does not say whose; it must not use up for all what is meant for one client."""
        try:
            name = self._peers[peer]
        except KeyError:
            own = None if trusted(peer, self._proxies) else counted_as(parse(peer))
            name = _remembered(self._peers, peer, own)
        if name is not None or not forwarded_for:
            return name
        said = forwarded_for[0]
        if len(forwarded_for) > 1 or len(said) > SAID_BYTES_MAX:
            return self._read(peer, forwarded_for)
        try:
            return self._said[said]
        except KeyError:
            return _remembered(self._said, said, self._read(peer, forwarded_for))

    def _read(self, peer: str, forwarded_for: Sequence[bytes]) -> str | None:
        """What a trusted proxy said; which of them it was makes no difference."""
        address = client_address(peer, forwarded_for, self._proxies)
        return None if address is None or trusted(str(address), self._proxies) else counted_as(address)


def _remembered(known: dict[AnyStr, str | None], key: AnyStr, name: str | None) -> str | None:
    if len(known) >= KNOWN_MAX:
        known.clear()
    known[key] = name
    return name
