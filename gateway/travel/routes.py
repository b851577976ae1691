"""Where the gateways of other regions are reached: inside addresses from the settings, else the origin that policy states. Pure."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from foundation.settings import SettingsError
from foundation.words import RegionId

ADDRESSES_MAX = 64
_PORTS = {"http": 80, "https": 443}


class Route(msgspec.Struct, frozen=True):
    """Addresses (`host:port`) of one region's gateways, and whether they speak TLS."""

    addresses: tuple[str, ...]
    secure: bool


class Routes:
    """Raises SettingsError at the start for a route that is no origin; one that policy states is checked by policy."""

    def __init__(self, stated: Mapping[RegionId, tuple[str, ...]]) -> None:
        self._stated = {region: _stated(region, origins) for region, origins in stated.items()}

    def of(self, region: RegionId, origin: str) -> Route | None:
        """The way to a region whose origin in policy is `origin`; None where that leads nowhere."""
        stated = self._stated.get(region)
        return stated if stated is not None else route_of((origin,))


def route_of(origins: tuple[str, ...]) -> Route | None:
    """None where one is no origin (`https://host[:port]`), or they mix TLS and none."""
    parsed = [_parsed(origin) for origin in origins[:ADDRESSES_MAX]]
    schemes = {one[0] for one in parsed if one is not None}
    if None in parsed or len(schemes) != 1:
        return None
    return Route(tuple(one[1] for one in parsed if one is not None), secure="https" in schemes)


def _stated(region: RegionId, origins: tuple[str, ...]) -> Route:
    route = route_of(origins)
    if route is None:
        raise SettingsError(
            f"hop_routes.{region}: state origins such as https://10.0.0.7:7430, all with TLS or all without"
        )
    return route


def _parsed(origin: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname
    if parts.scheme not in _PORTS or not host or parts.path not in ("", "/") or parts.query or parts.username:
        return None
    bracketed = f"[{host}]" if ":" in host else host
    return parts.scheme, f"{bracketed}:{port or _PORTS[parts.scheme]}"
