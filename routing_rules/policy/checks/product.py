"""`[product]`, `[directory]` and `[regions.ID]`. Pure."""

import re
from urllib.parse import urlsplit

from routing_rules.hints import shown
from routing_rules.pack import Pack
from routing_rules.policy.checks.words import check_country, check_subdivision
from routing_rules.policy.draft import Draft
from routing_rules.policy.key_lines import Path
from routing_rules.policy.mistakes import Mistakes
from routing_rules.policy.tables import DECISION_S_MAX, STALE_S_MAX, STALE_S_MIN

_COOKIE = re.compile(r"__Host-[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}\Z")
"""A cookie name (RFC 6265 section 4.1.1) that only the host itself can set, with Secure and for the whole path (RFC 6265bis)."""


def check_product(draft: Draft, mistakes: Mistakes) -> None:
    product, at = draft.product, ("product",)
    if product is None:
        return
    if product.placement_key != "iss+sub":
        mistakes.add((*at, "placement_key"), f"is {shown(product.placement_key)}; this release places by iss+sub only")
    if not 0 < product.decision_s <= DECISION_S_MAX:
        mistakes.add((*at, "decision_s"), f"is {product.decision_s:g}; must be above 0 and at most {DECISION_S_MAX:g}")
    if not STALE_S_MIN <= product.stale_s_max <= STALE_S_MAX:
        bounds = f"must be at least {STALE_S_MIN:g} and at most {STALE_S_MAX:g}"
        mistakes.add((*at, "stale_s_max"), f"is {product.stale_s_max:g}; {bounds}")
    if product.session_cookie is not None and not _COOKIE.match(product.session_cookie):
        wrong = "must be a cookie name that begins with __Host-, so that no other host can set it"
        mistakes.add((*at, "session_cookie"), f"is {shown(product.session_cookie)}; {wrong}")


def check_directory(draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    if draft.directory is not None:
        check_country(draft.directory.country, ("directory", "country"), pack, mistakes)


def check_regions(draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    first_with: dict[str, str] = {}
    for name, region in draft.regions.items():
        at: Path = ("regions", name)
        if check_country(region.country, (*at, "country"), pack, mistakes):
            check_subdivision(region.subdivision, region.country, (*at, "subdivision"), mistakes)
        wrong = _origin_mistake(region.origin)
        if wrong is not None:
            mistakes.add((*at, "origin"), f"is {shown(region.origin)}; {wrong}")
        elif (other := first_with.setdefault(region.origin.lower(), name)) != name:
            mistakes.add((*at, "origin"), f"is the origin of regions.{other} too; each region has its own")


def _origin_mistake(origin: str) -> str | None:
    """What keeps the text from being an origin (RFC 6454 section 4: scheme, host, port), or None."""
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        return f"not a URL: {exc}"
    if parts.scheme not in ("http", "https") or not host or port == 0 or re.search(r"[\s\x00-\x1f\\]", origin):
        return "must be the public URL of its gateways, such as https://eu.example.com"
    if "@" in parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
        return "must end after host and port: no path, query, user or trailing slash"
    return None
