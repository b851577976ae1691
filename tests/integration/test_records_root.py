"""`GET /records/`: a decision is needed as for any read, and what comes depends on whose and for what it is."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from deploy.local.postgres import PostgresServer
from foundation.words import RECORDS, Verb, mint_subject_id
from tests.stands.records import RecordsStand, records_stand

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def live(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RecordsStand]:
    async with records_stand(postgres_server, tmp_path_factory.mktemp("root")) as built:
        yield built


async def _columns(live: RecordsStand, path: str = "/records/", **who: Any) -> set[str]:
    answer = await live.http.get(path, headers=live.headers(verb=Verb.READ, **who))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/openapi+json"), answer.text
    document = answer.json()
    assert (document["openapi"], answer.headers["cache-control"]) == ("3.1.0", "no-store")
    return set(document["components"]["schemas"].get("notes.row", {"properties": {}})["properties"])


async def test_the_document_is_of_the_caller_and_the_purpose(live: RecordsStand) -> None:
    for _ in range(2):
        assert "body" in await _columns(live)
        assert "body" not in await _columns(live, purpose="analytics")
        assert await _columns(live, service="analytics", purpose="analytics") == {"subject_id", "id", "rank"}
        assert "card" in await _columns(live, "/records", service=RECORDS)
        # Rows of notes are the subject's: another person has none.
        assert await _columns(live, actor=mint_subject_id()) == set()
        assert "shadow" not in await _columns(live)


async def test_without_a_decision_that_holds_there_is_no_document(live: RecordsStand) -> None:
    assert (await live.http.get("/records/")).status_code == 401
    stale = await live.http.get("/records/", headers=live.headers(epoch=4))
    assert (stale.status_code, stale.headers["domicile-refusal"], stale.headers["domicile-epoch"]) == (
        409, "stale_epoch", "5",
    )  # fmt: skip
    assert (await live.http.get("/records/", headers=live.headers(subject=mint_subject_id()))).status_code == 503
    assert (await live.http.head("/records/", headers=live.headers())).text == ""
    assert (await live.http.post("/records/", headers=live.headers())).status_code == 405
