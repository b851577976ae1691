"""`[destinations.ID]`: where releases of egress may go, and which cells' people read there. Pure."""

import ipaddress
import re
from urllib.parse import urlsplit

from foundation.words import CellId
from routing_rules.hints import shown
from routing_rules.pack import Pack
from routing_rules.policy.checks.operator import recipient_classes
from routing_rules.policy.checks.words import check_country, check_purpose, check_subdivision
from routing_rules.policy.draft import Draft
from routing_rules.policy.key_lines import Path
from routing_rules.policy.mistakes import Mistakes
from routing_rules.policy.tables import Destination


def check_destinations(draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    classes = recipient_classes(pack)
    for name, one in draft.destinations.items():
        at: Path = ("destinations", name)
        if check_country(one.country, (*at, "country"), pack, mistakes):
            check_subdivision(one.subdivision, one.country, (*at, "subdivision"), mistakes)
        if not one.purposes:
            mistakes.add((*at, "purposes"), "is empty; a destination that nothing may go to is left out")
        for n, purpose in enumerate(one.purposes, start=1):
            check_purpose(purpose, (*at, "purposes", n), pack, mistakes)
        for n, stated in enumerate(one.recipient_classes or (), start=1):
            if stated not in classes:
                what = f"no class {shown(stated)} in the pack"
                mistakes.add_unknown((*at, "recipient_classes", n), what, stated, classes)
        for n, sink in enumerate(one.sinks, start=1):
            found = _sink_mistake(sink)
            if found is not None:
                mistakes.add((*at, "sinks", n), found)
    _check_readers(draft, mistakes)


def _check_readers(draft: Draft, mistakes: Mistakes) -> None:
    """A cell's people read in one place: where its region is."""
    seen: dict[CellId, str] = {}
    for name, one in draft.destinations.items():
        for n, cell in enumerate(one.readers, start=1):
            at: Path = ("destinations", name, "readers", n)
            if cell not in draft.declared.cells:
                mistakes.add_unknown(at, f"no cell {shown(cell)}", cell, draft.declared.cells)
            elif cell in seen:
                mistakes.add(at, f"people of {cell} read at {seen[cell]} already")
            elif (where := _elsewhere(one, cell, draft)) is not None:
                mistakes.add(at, f"people of {cell} read where its region is: {where}")
            seen.setdefault(cell, name)


def _elsewhere(one: Destination, cell: CellId, draft: Draft) -> str | None:
    """The place of the cell's region where that is another than the destination's; None: the same, or not known."""
    stated = draft.cells.get(cell)
    region = None if stated is None else draft.regions.get(stated.region)
    if region is None or (region.country, region.subdivision) == (one.country, one.subdivision):
        return None
    return region.subdivision or region.country


def _sink_mistake(sink: str) -> str | None:
    """What keeps the text from being the URL of a sink, or None."""
    try:
        parts = urlsplit(sink)
        host = parts.hostname
        _ = parts.port
    except ValueError as exc:
        return f"not a URL: {exc}"
    if not parts.scheme or not host or re.search(r"[\s\x00-\x1f\\?#]", sink) or ".." in parts.path.split("/"):
        return "must be a URL without query, such as s3://bucket/folder or https://lake.example.com/in"
    if "@" in parts.netloc:
        return "must name no user: credentials stand in the cell's settings and environment"
    if parts.scheme == "http" and not _of_loopback(host):
        return "must be https: data leaves through it"
    return None


def _of_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
