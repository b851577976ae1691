"""Hostile bodies and parameters are refused at the door: never a fault, never half an effect."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from foundation.mute import Secret
from tests.stands.directory import Running, lookup_key, running_directory
from tests.stands.service_tokens import ServiceIssuer

pytestmark = pytest.mark.anyio

PLACE: dict[str, Any] = {
    "residence": "DE",
    "services": ["orders"],
    "keys": [{"kind": "login", "key": lookup_key("ada")}],
    "reason": "test",
}
KEY = PLACE["keys"][0]


@pytest.fixture
async def running(database: Secret[str], tmp_path: Path) -> AsyncIterator[Running]:
    async with running_directory(database, ServiceIssuer(tmp_path), workers=False) as one:
        await one.callers.publisher.publish()
        yield one


BAD_PARTS: list[dict[str, Any]] = [
    {"residence": "de"},
    {"residence": "DE\n"},
    {"residence": 49},
    {"services": []},
    {"services": ["orders\n"]},
    {"services": ["orders"] * 33},
    {"keys": []},
    {"keys": [KEY, KEY]},
    {"keys": [KEY | {"kind": "login\n"}]},
    {"keys": [KEY | {"key": KEY["key"] + "\n"}]},
    {"keys": [KEY | {"key": "=" * 32}]},
    {"keys": [KEY | {"subject_id": "x"}]},
    {"reason": ""},
    {"reason": "nul \x00"},
    {"reason": "two\nlines"},
    {"reason": "line\n"},
    {"reason": "x" * 501},
    {"tags": ["Ünicode"]},
    {"tags": ["health\n"]},
    {"tags": ["heatlh"]},
    {"terms": "nowhere"},
    {"verified_residence": "us"},
    {"subdivision": "BY"},
    {"subdivision": "US-TX"},
    {"citizenships": ["de"]},
    {"citizenships": ["DE"] * 9},
    {"observed": "D"},
    {"tags": ["t"] * 33},
    {"terms": "\x00"},
    {"shard": "s1"},
    {"subject_id": "0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77"},
]


async def test_a_placement_that_is_not_well_formed_is_refused(running: Running) -> None:
    for part in BAD_PARTS:
        refused = await running.callers.operator.post("/v1/subjects", PLACE | part, wait_ms=0)
        assert (refused.status_code, refused.json()["code"]) == (400, "bad_request"), part
    assert (await running.callers.resolver.feed(0)).head == 1


NO_OBJECTS = [b"", b"{", b"[]", b"null", b'{"reason": "\xff"}', b'{"reason":"\\ud800"}', b'"' + b"x" * 200]


async def test_a_body_that_is_no_such_object_is_refused_by_every_call(running: Running) -> None:
    calls = running.callers
    held = await calls.active("ada")
    subject = f"/v1/subjects/{held['subject_id']}"
    everybody = calls.of("all", "operator", "resolver", "rules", "cell:eu-de")
    paths = ["/v1/resolve", "/v1/rules", "/v1/rules/rollback", "/v1/subjects"]
    paths += [f"{subject}/{word}" for word in ("ack", "freeze", "epoch", "services")]
    for path in paths:
        for raw in NO_OBJECTS:
            refused = await everybody.raw("POST", path, raw)
            assert (refused.status_code, refused.json()["code"]) == (400, "bad_request"), (path, raw)


async def test_an_epoch_that_is_none_is_refused(running: Running) -> None:
    calls = running.callers
    held = await calls.active("ada")
    subject = f"/v1/subjects/{held['subject_id']}"
    for epoch in [0, -1, 2**63, 2**64, 1.5, "1", None]:
        assert (await calls.cell.post(f"{subject}/ack", {"epoch": epoch})).status_code == 400, epoch
        assert (await calls.operator.post(f"{subject}/freeze", {"epoch": epoch, "reason": "r"})).status_code == 400, (
            epoch
        )


BAD_PARAMETERS = [
    "/v1/feed?after=-1",
    "/v1/feed?after=9223372036854775808",
    "/v1/feed?after=1e3",
    "/v1/feed?limit=0",
    "/v1/feed?limit=1001",
    "/v1/feed?wait_ms=25001",
    "/v1/subjects?limit=1001",
    "/v1/subjects?cell=EU",
    "/v1/subjects?cell=%00",
    "/v1/subjects?cursor=%00",
    "/v1/subjects/nobody",
    "/v1/subjects/%00",
    "/v1/rules/sha256:x",
    "/v1/rules/history?limit=1001",
    "/v1/rules/history?cursor=%00",
    "/v1/rules/history?cursor=c2VxOjk5OTk5OTk5OTk5OTk5OTk5OTk5",
]


async def test_a_parameter_out_of_bounds_is_refused(running: Running) -> None:
    for path in BAD_PARAMETERS:
        refused = await running.callers.operator.get(path)
        assert (refused.status_code, refused.json()["code"]) == (400, "bad_request"), path


async def test_an_idempotency_key_that_is_none_is_refused(running: Running) -> None:
    keys: list[str | bytes] = ["", " ", "x" * 201, "tab\t", "ü".encode()]
    for key in keys:
        refused = await running.callers.operator.raw(
            "POST", "/v1/subjects", json.dumps(PLACE).encode(), {"idempotency-key": key}
        )
        assert refused.status_code == 400, key
    assert (await running.callers.resolver.feed(0)).head == 1


async def test_a_body_too_large_is_refused(running: Running) -> None:
    refused = await running.callers.resolver.raw("POST", "/v1/resolve", b" " * (1 << 20) + b"{}")
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")


async def test_a_token_that_ran_out_or_is_of_another_issuer_opens_nothing(running: Running, tmp_path: Path) -> None:
    other = ServiceIssuer(tmp_path)
    for token in (
        other.token("operator:ops", ["operator"]),
        "",
        "x.y.z",
        other.token("operator:ops", ["operator"], -60),
    ):
        refused = await running.callers.http.get("/v1/subjects", headers={"authorization": f"Bearer {token}"})
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    assert (await running.callers.http.get("/v1/nothing")).json()["code"] == "not_found"
    assert (await running.callers.http.delete("/v1/subjects")).json()["code"] == "method_not_allowed"
