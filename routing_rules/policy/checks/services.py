"""`[services.ID]`: what they are for, their routes, hosts and jobs; the built-in `records` and `views`. Pure."""

import re

from foundation.words import RECORDS, VIEWS, CellId, ServiceId, Verb
from routing_rules.hints import shown
from routing_rules.pack import Pack
from routing_rules.policy.checks.words import check_purpose, check_tags
from routing_rules.policy.draft import Draft
from routing_rules.policy.key_lines import Path
from routing_rules.policy.mistakes import Mistakes
from routing_rules.policy.tables import Service

_ADDRESS = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):(\d{1,5})\Z")
_ROUTE = re.compile(r"(?:/[A-Za-z0-9._~-]+)+\Z")


def check_services(draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    for name, service in draft.services.items():
        if mistakes.full:  # every service is compared with every cell
            return
        at: Path = ("services", name)
        check_purpose(service.purpose, (*at, "purpose"), pack, mistakes)
        check_tags(service.tags, (*at, "tags"), pack, mistakes)
        _check_routes(name, service, mistakes)
        _check_hosts(service, at, draft, mistakes)
        if service.jobs is not None:
            check_purpose(service.jobs.purpose, (*at, "jobs", "purpose"), pack, mistakes)
            if Verb.SIGNUP in service.jobs.verbs:
                mistakes.add((*at, "jobs", "verbs"), "a job reads or writes; it signs nobody up")
    _check_records(draft, mistakes)
    _check_views(draft, mistakes)


def _check_routes(name: ServiceId, service: Service, mistakes: Mistakes) -> None:
    for key, routes in (("anonymous", service.anonymous), ("signup", service.signup)):
        for n, route in enumerate(routes, start=1):
            at: Path = ("services", name, key, n)
            segments = route.split("/")
            if not route.startswith(f"/{name}/"):
                mistakes.add(at, f"{shown(route)} must start with /{name}/, or it would be another service's")
            elif not _ROUTE.match(route) or "." in segments or ".." in segments:
                mistakes.add(at, f"{shown(route)} must be a plain path: no query, escapes, empty or dot segments")
    for route in sorted(set(service.anonymous) & set(service.signup)):
        mistakes.add(("services", name, "signup"), f"{shown(route)} is anonymous too; a sign-up needs a token")


def _check_hosts(service: Service, at: Path, draft: Draft, mistakes: Mistakes) -> None:
    cells = draft.declared.cells
    for missing in sorted(cells - set(service.hosts)):
        what = f"names no hosts for cell {missing}; write {missing} = [] if the service does not run there"
        mistakes.add((*at, "hosts"), what)
    if service.hosts and not any(service.hosts.values()):
        mistakes.add((*at, "hosts"), "the service runs in no cell")
    for cell, addresses in service.hosts.items():
        if cell not in cells:
            mistakes.add_unknown((*at, "hosts", cell), f"no cell {shown(cell)}", cell, cells)
        _check_addresses(cell, addresses, at, mistakes)


def _check_addresses(cell: CellId, addresses: tuple[str, ...], at: Path, mistakes: Mistakes) -> None:
    for n, address in enumerate(addresses, start=1):
        match = _ADDRESS.match(address)
        if match is None or not 1 <= int(match.group(1)) <= 65535:
            mistakes.add((*at, "hosts", cell, n), f"{shown(address)} must be host:port, such as 127.0.0.1:7201")
    if len(set(addresses)) != len(addresses):
        mistakes.add((*at, "hosts", cell), "names one address twice")


def _check_records(draft: Draft, mistakes: Mistakes) -> None:
    if RECORDS not in draft.declared.services:
        mistakes.add(("services", RECORDS), "is missing; it names the cell service of each cell (the records API)")
    records = draft.services.get(RECORDS)
    for cell, addresses in (records.hosts if records else {}).items():
        if not addresses:
            mistakes.add(("services", RECORDS, "hosts", cell), "is empty; every cell has its cell service")


def _check_views(draft: Draft, mistakes: Mistakes) -> None:
    """What people show is given out by the cell service, where policy says so at all."""
    views, records = draft.services.get(VIEWS), draft.services.get(RECORDS)
    if views is None:
        return
    for key in ("anonymous", "signup", "jobs"):
        if getattr(views, key):
            mistakes.add(
                ("services", VIEWS, key), "what people show is read by people with a home, and by nothing else"
            )
    for cell, addresses in views.hosts.items():
        if addresses and records is not None and addresses != records.hosts.get(cell):
            mistakes.add(
                ("services", VIEWS, "hosts", cell), f"must be those of {RECORDS}, the cell's own service, or none"
            )
