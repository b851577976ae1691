"""The client's address: believed from trusted proxies only. Pure."""

import ipaddress
from collections.abc import Sequence

from foundation.settings import SettingsError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
HOPS_MAX = 32


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Parses `trusted_proxies`. Raises SettingsError."""
    parsed: list[Network] = []
    for text in texts:
        try:
            parsed.append(ipaddress.ip_network(text))
        except ValueError as exc:
            raise SettingsError(f"trusted_proxies: {text!r} is no network such as 10.0.0.0/8") from exc
    return tuple(parsed)


def trusted(peer: str, proxies: tuple[Network, ...]) -> bool:
    address = parse(peer)
    return address is not None and _inside(address, proxies)


def client_address(peer: str, forwarded_for: Sequence[bytes], proxies: tuple[Network, ...]) -> Address | None:
    """The rightmost address of `X-Forwarded-For` that is no trusted proxy, as long as every hop to its right is one; else the peer.

    An entry that is no address ends the walk: what stands left of it was not written by anybody we trust.
    """
    address = parse(peer)
    if address is None or not _inside(address, proxies):
        return address
    hops = b",".join(forwarded_for).split(b",")
    for hop in reversed(hops[-HOPS_MAX:]):
        found = parse(hop.strip().decode("latin-1"))
        if found is None:
            return address
        address = found
        if not _inside(address, proxies):
            return address
    return address


def counted_as(address: Address | None) -> str:
    """Whom a limit counts as one: an IPv4 address, the /64 of an IPv6 one, all whose address nobody can read."""
    if isinstance(address, ipaddress.IPv6Address):
        return f"{int(address) >> 64:x}"
    return str(address)


def parse(text: str) -> Address | None:
    """An address, brackets and port allowed as proxies write them; an IPv4-mapped one as IPv4, a zone left out. None if it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    if ":" in text:
        text = text.partition("%")[0]  # RFC 4007 section 11: a zone means something to its own host only
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _inside(address: Address, proxies: tuple[Network, ...]) -> bool:
    return any(address in network for network in proxies)
