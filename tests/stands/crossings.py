"""Crossings for tests of a cell: bodies as a gateway of the region sends them, and the callers of both calls."""

import secrets
from typing import Any

import httpx

from foundation.clock import SystemClock
from foundation.tokens import cell_audience
from foundation.words import SubjectId
from tests.stands.cell import POLICY, Stand
from tests.stands.service_tokens import AUDIENCE
from tests.stands.shard import CELL, rows

TWO_REGIONS = POLICY.replace(
    "[cells.eu-de]",
    '[regions.us]\ncountry = "US"\norigin = "https://us.example.com"\n[cells.eu-de]',
)


def crossing(live: Stand, subject: str, **changes: Any) -> dict[str, Any]:
    """A hairpin from Virginia that the cell books."""
    made = {
        "id": secrets.token_urlsafe(12),
        "at": SystemClock().unix_s(),
        "subject_id": subject,
        "kind": "hairpin",
        "from_region": "us",
        "from_country": "US",
        "home_cell": CELL,
        "service": "orders",
        "verb": "read",
        "purpose": "service",
        "ground": "the person is away from home",
        "basis": "eu -> us by scc, IDTA-2026-04",
        "rules": live.cell.context.rules.require().digest,
        "observed_country": "US",
        "trace_id": secrets.token_hex(16),
    }
    return made | changes


def gateway(live: Stand, region: str = "eu") -> dict[str, str]:
    return live.tokens.headers(f"gateway:{region}", ["resolver", f"gateway:{region}"])


def operator(live: Stand, *, cell: str = CELL, roles: tuple[str, ...] = ("operator",)) -> dict[str, str]:
    token = live.tokens.token("operator:ada", roles, aud=cell_audience(AUDIENCE, cell))
    return {"authorization": f"Bearer {token}"}


async def book(live: Stand, made: dict[str, Any], headers: dict[str, str] | None = None) -> httpx.Response:
    return await live.call("POST", "/cell/crossings", headers or gateway(live), json={"crossing": made})


async def shown(live: Stand, subject: str, **params: Any) -> dict[str, Any]:
    answer = await live.call("GET", f"/cell/subjects/{subject}/crossings", operator(live), params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def booked_ids(live: Stand, subject: SubjectId) -> list[str]:
    """Crossings of the subject in all shards' tables."""
    sql = "SELECT id FROM domicile.crossing WHERE subject_id = $1::uuid ORDER BY position"
    return [row["id"] for dsns in live.dsns.values() for row in await rows(dsns, sql, subject)]
