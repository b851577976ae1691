"""The OpenAPI document: made from the same declarations as the routes, and whole."""

from pathlib import Path
from typing import Any

import pytest

from foundation.mute import Secret
from tests.stands.directory import running_directory
from tests.stands.service_tokens import ServiceIssuer

pytestmark = pytest.mark.anyio

CALLS = {
    ("post", "/v1/resolve"),
    ("get", "/v1/subjects"),
    ("post", "/v1/subjects"),
    ("get", "/v1/subjects/{subject_id}"),
    ("post", "/v1/subjects/{subject_id}/ack"),
    ("post", "/v1/subjects/{subject_id}/epoch"),
    ("post", "/v1/subjects/{subject_id}/freeze"),
    ("post", "/v1/subjects/{subject_id}/unfreeze"),
    ("post", "/v1/subjects/{subject_id}/services"),
    ("get", "/v1/subjects/{subject_id}/history"),
    ("get", "/v1/feed"),
    ("get", "/v1/feed/status"),
    ("post", "/v1/feed/histories"),
    ("post", "/v1/rules"),
    ("post", "/v1/rules/rollback"),
    ("get", "/v1/rules/history"),
    ("get", "/v1/rules/current"),
    ("get", "/v1/rules/{digest}"),
    ("post", "/v1/bulk"),
    ("post", "/v1/bulk/check"),
    ("get", "/v1/bulk/{job_id}"),
    ("post", "/v1/bulk/{job_id}/batches"),
    ("get", "/v1/bulk/parts/waiting"),
    ("get", "/v1/bulk/parts/{part}"),
    ("post", "/v1/bulk/parts/{part}/ack"),
    ("post", "/v1/bulk/parts/{part}/settled"),
    ("get", "/v1/registry"),
    ("get", "/v1/registry/history"),
    ("get", "/v1/registry/regions/{region}"),
    ("put", "/v1/registry/regions/{region}"),
    ("get", "/v1/registry/cells/{cell}"),
    ("put", "/v1/registry/cells/{cell}"),
    ("get", "/v1/registry/cells/{cell}/shards/{shard}"),
    ("put", "/v1/registry/cells/{cell}/shards/{shard}"),
    ("get", "/v1/registry/services/{service}/cells/{cell}"),
    ("put", "/v1/registry/services/{service}/cells/{cell}"),
    ("post", "/v1/aliases/claim"),
    ("post", "/v1/aliases/confirm"),
    ("post", "/v1/aliases/release"),
    ("get", "/v1/aliases"),
    ("get", "/v1/aliases/claims/{claim_id}"),
    ("post", "/v1/aliases/twins"),
    ("get", "/v1/aliases/generations"),
    ("post", "/v1/aliases/generations/{kid}/retire"),
    ("get", "/v1/aliases/population"),
    ("get", "/v1/locks"),
    ("get", "/v1/locks/history"),
    ("put", "/v1/locks/{cell}"),
    ("post", "/v1/locks/{cell}/forget"),
    ("get", "/ledger/checkpoint"),
    ("get", "/ledger/cosigned/{quorum}"),
    ("get", "/ledger/tile/{path}"),
    ("post", "/ledger/reads"),
    ("post", "/ledger/erasures"),
    ("get", "/ledger/erasures/{job}"),
}


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(references(one) for one in value.values()))
    if isinstance(value, list):
        return set().union(*(references(one) for one in value))
    return set()


async def test_the_document_describes_every_call_and_refers_to_nothing_missing(
    database: Secret[str], tmp_path: Path
) -> None:
    async with running_directory(database, ServiceIssuer(tmp_path), workers=False) as one:
        answer = await one.callers.http.get("/openapi.json")
    document = answer.json()
    assert document["openapi"] == "3.1.0"
    described = {(method, path): call for path, calls in document["paths"].items() for method, call in calls.items()}
    assert set(described) == CALLS
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= schemas
    assert len({call["operationId"] for call in described.values()}) == len(CALLS)
    for call in described.values():
        assert {"400", "401", "403", "503"} <= set(call["responses"])
        assert any(status.startswith("2") for status in call["responses"])
    place = described["post", "/v1/subjects"]
    assert {"201", "202", "409", "421", "422", "451"} <= set(place["responses"])
    assert {one["name"] for one in place["parameters"]} == {"Idempotency-Key", "wait_ms"}
    events = document["components"]["schemas"]["FeedPage"]["properties"]["events"]["items"]
    assert references(events) == {
        f"#/components/schemas/{kind}Event" for kind in ("Bulk", "Keys", "Placement", "Registry", "Rules")
    }
