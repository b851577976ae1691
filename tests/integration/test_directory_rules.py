"""Publishing rules: checked, kept by digest, announced, and binding for placements at the moment they commit."""

import asyncio
import datetime
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from directory.placement.answers import ClaimedKey
from directory.placement.core import Facts, RulesEvent
from directory.placement.outcomes import NewSubject, RulesMoved
from directory.placement.provenance import Basis, Provenance
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.words import (
    CellId,
    Country,
    FeedSeq,
    JurisdictionId,
    RulesDigest,
    ServiceId,
    ShardId,
    mint_subject_id,
)
from tests.stands.directory import POLICY, Running, lookup_key, running_directory
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def running(database: Secret[str], tmp_path: Path) -> AsyncIterator[Running]:
    async with running_directory(database, ServiceIssuer(tmp_path), workers=False) as one:
        yield one


async def test_published_rules_are_read_by_digest_and_announced(running: Running) -> None:
    calls = running.callers
    assert (await calls.resolver.get("/v1/rules/current")).status_code == 404
    published = await calls.publisher.publish()
    assert published.status_code == 201
    document = published.json()
    assert document["policy"] == POLICY
    assert document["actor"] == "operator:rules"
    for path in ("/v1/rules/current", f"/v1/rules/{document['digest']}"):
        assert (await calls.resolver.get(path)).json() == document
    (event,) = (await calls.resolver.feed(0)).events
    assert isinstance(event, RulesEvent)
    assert (event.seq, event.digest) == (document["seq"], document["digest"])
    assert (await calls.resolver.get(f"/v1/rules/sha256:{'0' * 64}")).status_code == 404
    assert (await calls.resolver.get("/v1/rules/md5:1")).status_code == 400


async def test_publishing_what_holds_changes_nothing_however_often(running: Running) -> None:
    answers = await asyncio.gather(*(running.callers.publisher.publish() for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({answer.content for answer in answers}) == 1
    assert (await running.callers.resolver.feed(0)).head == 1


async def test_earlier_rules_can_be_published_again(running: Running) -> None:
    calls = running.callers
    first = (await calls.publisher.publish()).json()
    second = (await calls.publisher.publish(POLICY + "\n# changed\n")).json()
    again = await calls.publisher.publish()
    assert again.status_code == 201
    assert first["digest"] == again.json()["digest"] != second["digest"]
    assert again.json()["seq"] == 3
    assert (await calls.resolver.get(f"/v1/rules/{first['digest']}")).json()["seq"] == 3


async def test_a_policy_with_mistakes_is_refused_with_all_of_them(running: Running) -> None:
    wrong = POLICY.replace('country = "DE"', 'country = "XX"').replace("[regions.us]", "[regoins.us]")
    refused = await running.callers.publisher.publish(wrong)
    assert (refused.status_code, refused.json()["code"]) == (422, "unprocessable")
    assert len(refused.json()["mistakes"]) > 1
    assert (await running.callers.resolver.feed(0)).head == 0


async def test_placing_follows_new_rules_at_once(running: Running) -> None:
    calls = running.callers
    await calls.publisher.publish()
    assert (await calls.operator.place("ada", residence="GB")).status_code == 451
    await calls.publisher.publish(POLICY.replace('serves = ["eu"]', 'serves = ["eu", "uk"]'))
    assert (await calls.operator.place("ada", residence="GB")).json()["placement"]["cell"] == "eu-de"


async def test_a_placement_decided_under_rules_that_no_longer_hold_does_not_commit(
    running: Running, database: Secret[str]
) -> None:
    await running.callers.publisher.publish()
    under = RulesDigest(f"sha256:{'0' * 64}")
    new = NewSubject(
        subject_id=mint_subject_id(),
        cell=CellId("eu-de"),
        shard=ShardId("s1"),
        services=(ServiceId("orders"),),
        facts=Facts(facts_id=0, regimes=(JurisdictionId("eu"),), residence=Country("DE")),
        provenance=Provenance(
            basis=Basis.DECLARED,
            questions=(),
            ground="",
            rules=under,
            on=datetime.date(2026, 11, 21),
            valid_until=None,
            law=(),
        ),
        keys=(ClaimedKey(kind="login", key=lookup_key("ada")),),
        under=under,
        registry=FeedSeq(0),
        actor="operator:ops",
        reason="test",
    )
    assert isinstance(await running.directory.services.changes.place(new, None), RulesMoved)
    async with connect(database) as db:
        assert await db.fetchval("SELECT count(*) FROM directory.subject") == 0
        assert await db.fetchval("SELECT count(*) FROM directory.lookup_key") == 0
    assert (await running.callers.resolver.feed(0)).head == 1


async def test_no_placement_commits_under_rules_that_forbid_it_while_rules_change(
    database: Secret[str], tmp_path: Path
) -> None:
    """Two processes: one flips the rules, one places people whom only one of the two policies allows."""
    allowing = POLICY.replace('serves = ["eu"]', 'serves = ["eu", "uk"]')
    tokens, answers = ServiceIssuer(tmp_path), Counter[int]()
    async with (
        running_directory(database, tokens, workers=False) as one,
        running_directory(database, tokens, workers=False) as two,
    ):
        forbidden = RulesDigest((await one.callers.publisher.publish()).json()["digest"])

        async def flip() -> None:
            for n in range(16):
                await one.callers.publisher.publish(POLICY if n % 2 else allowing)
                enough = answers.total() + 6
                await eventually(lambda enough=enough: answers.total() >= enough)

        async def place(number: int) -> None:
            count = 0
            while not flipping.done():
                answer = await two.callers.operator.place(f"p{number}-{count}", residence="GB")
                assert answer.status_code in (202, 451, 503), answer.text
                answers[answer.status_code] += 1
                count += 1

        async with asyncio.TaskGroup() as group:
            flipping = group.create_task(flip())
            for number in range(4):
                group.create_task(place(number))
        digest = None
        for event in (await one.callers.resolver.feed(0)).events:
            if isinstance(event, RulesEvent):
                digest = event.digest
            else:
                assert digest != forbidden, f"event {event.seq} was placed under rules that forbid it"
    assert answers[202] > 5
    assert answers[451] > 5


async def test_rules_of_another_release_are_not_placed_by(running: Running, database: Secret[str]) -> None:
    await running.callers.publisher.publish()
    other = f"sha256:{'1' * 64}"
    await _published_by_another_release(database, other, POLICY, 2)
    refused = await running.callers.operator.place("ada")
    assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
    assert (await running.callers.publisher.publish()).status_code == 201
    assert (await running.callers.operator.place("ada")).status_code == 202


async def test_rules_are_published_only_over_those_that_the_caller_compared_with(running: Running) -> None:
    calls = running.callers

    async def publish(policy: str, compared: str) -> httpx.Response:
        return await calls.publisher.post("/v1/rules", {"policy": policy, "reason": "t"}, {"if-match": f'"{compared}"'})

    first = (await calls.publisher.publish()).json()["digest"]
    second = await publish(POLICY + "\n# two\n", first)
    assert second.status_code == 201
    late = await publish(POLICY + "\n# three\n", first)
    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    assert late.json()["digest"] == second.json()["digest"]
    repeat = await publish(POLICY + "\n# two\n", first)
    assert (repeat.status_code, repeat.json()) == (200, second.json()), "the change was made already"
    assert (await calls.resolver.get("/v1/rules/current")).json()["digest"] == second.json()["digest"]
    for tag in ("*", f'W/"{first}"', first, f'"{first}", "{first}"', '""', '"', '"x"'):
        answer = await calls.publisher.post("/v1/rules", {"policy": POLICY, "reason": "t"}, {"if-match": tag})
        assert answer.status_code == 400, tag


async def test_of_many_who_compared_with_the_same_rules_one_publishes(running: Running) -> None:
    calls = running.callers
    first = (await calls.publisher.publish()).json()["digest"]
    answers = await asyncio.gather(
        *(
            calls.publisher.post(
                "/v1/rules", {"policy": f"{POLICY}\n# {n}\n", "reason": "t"}, {"if-match": f'"{first}"'}
            )
            for n in range(8)
        )
    )
    assert Counter(answer.status_code for answer in answers) == {201: 1, 412: 7}


async def test_the_history_of_rules_is_paged_newest_first(running: Running) -> None:
    calls = running.callers
    assert (await calls.operator.get("/v1/rules/history")).json() == {"entries": [], "next": None}
    digests = [(await calls.publisher.publish(f"{POLICY}\n# {n}\n")).json()["digest"] for n in range(5)]
    await calls.operator.place("ada")
    digests.append((await calls.publisher.publish(f"{POLICY}\n# 0\n")).json()["digest"])
    seen: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await calls.operator.get("/v1/rules/history", limit=2, **cursor)).json()
        seen += page["entries"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert [one["digest"] for one in seen] == digests[::-1]
    assert [one["seq"] for one in seen] == [7, 5, 4, 3, 2, 1]
    assert {(one["actor"], one["reason"]) for one in seen} == {("operator:rules", "test")}
    assert seen[0]["bytes"] == len(f"{POLICY}\n# 0\n".encode())
    assert [one["published_at"] for one in seen] == sorted((one["published_at"] for one in seen), reverse=True)


async def test_a_rollback_publishes_the_earlier_text_anew(running: Running) -> None:
    calls = running.callers
    first = (await calls.publisher.publish()).json()["digest"]
    second = (await calls.publisher.publish(POLICY + "\n# two\n")).json()["digest"]
    body = {"digest": first, "reason": "two was wrong"}
    late = await calls.publisher.post("/v1/rules/rollback", body, {"if-match": f'"{first[:-4]}0000"'})
    assert late.status_code == 412
    done = await calls.publisher.post("/v1/rules/rollback", body, {"if-match": f'"{second}"'})
    assert done.status_code == 201, done.text
    assert (done.json()["of"], done.json()["document"]["digest"], done.json()["document"]["policy"]) == (
        first,
        first,
        POLICY,
    )
    assert done.headers["etag"] == f'"{first}"'
    assert (await calls.resolver.get("/v1/rules/current")).json() == done.json()["document"]
    newest = (await calls.operator.get("/v1/rules/history", limit=1)).json()["entries"][0]
    assert (newest["digest"], newest["reason"], newest["seq"]) == (first, "two was wrong", 3)
    assert (await calls.publisher.post("/v1/rules/rollback", body)).status_code == 200
    never = await calls.publisher.post("/v1/rules/rollback", body | {"digest": f"sha256:{'0' * 64}"})
    assert never.status_code == 404
    assert (await calls.publisher.post("/v1/rules/rollback", body | {"digest": "1"})).status_code == 400


async def test_a_rollback_to_rules_of_another_release_says_under_which_digest_they_hold_now(
    running: Running, database: Secret[str]
) -> None:
    calls = running.callers
    other, broken = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
    await _published_by_another_release(database, other, POLICY, 1)
    await _published_by_another_release(database, broken, "[product", 2)
    refused = await calls.publisher.post("/v1/rules/rollback", {"digest": broken, "reason": "t"})
    assert (refused.status_code, refused.json()["code"]) == (422, "unprocessable")
    assert refused.json()["mistakes"]
    done = (await calls.publisher.post("/v1/rules/rollback", {"digest": other, "reason": "t"})).json()
    assert done["of"] == other
    assert done["document"]["digest"] not in {other, broken}
    assert done["document"]["policy"] == POLICY


async def test_rules_change_no_placement_that_is_there(running: Running) -> None:
    calls = running.callers
    await calls.publisher.publish(POLICY.replace('serves = ["eu"]', 'serves = ["eu", "uk"]'))
    held = await calls.active("ada", residence="GB")
    await calls.publisher.publish()
    assert (await calls.operator.place("bob", residence="GB")).status_code == 451
    found = (await calls.operator.get(f"/v1/subjects/{held['subject_id']}")).json()["placement"]
    assert found == held


async def _published_by_another_release(database: Secret[str], digest: str, policy: str, seq: int) -> None:
    async with connect(database) as db:
        await db.execute("INSERT INTO directory.rules (digest, policy) VALUES ($1, $2)", digest, policy)
        await db.execute(
            'INSERT INTO directory.feed (seq, at, body) VALUES ($2, now(), format(\'{"kind":"rules","digest":"%s"}\', $1::text))',
            digest,
            seq,
        )
        await db.execute(
            "INSERT INTO directory.rules_published (seq, digest, at, actor, reason) VALUES ($2, $1, now(), 'x', 'x')",
            digest,
            seq,
        )
        await db.execute("UPDATE directory.feed_head SET seq = $2, rules_digest = $1", digest, seq)
