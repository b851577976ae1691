"""Generated hostile requests against the records API on real Postgres: refused in words or answered with one's own rows only.

A few thousand by default; `make fuzz` asks many more (HOSTILE_REQUESTS, HOSTILE_SEED).
"""

import asyncio
import collections
import json
import os
import re
from pathlib import Path

import pytest

from deploy.local.postgres import PostgresServer
from foundation.words import mint_subject_id
from tests.stands.hostile import Grammar, Request
from tests.stands.records import RecordsStand, records_stand
from tests.stands.shard import place, rows

pytestmark = pytest.mark.anyio

NUMBER = int(os.environ.get("HOSTILE_REQUESTS", "3000"))
SEED = int(os.environ.get("HOSTILE_SEED", "20261121"))
AT_ONCE = 8
STRANGERS = (
    "SELECT id::text, body, rank, shadow, card, extra::text FROM product.notes WHERE subject_id <> $1 ORDER BY rank"
)
OWN = "SELECT count(*), count(*) FILTER (WHERE shadow <> 'unseen'), count(*) FILTER (WHERE epoch IS NOT NULL) FROM product.notes"
OWN += " WHERE subject_id = $1"
REFUSALS = frozenset({400, 403, 404, 405, 406, 409, 413, 416})
ANSWERS = frozenset({200, 201, 204, 206})
SQL = re.compile(
    r"SELECT |INSERT |UPDATE |WHERE|FROM |json_to_record|_w\b|_b\b|\$\d::|domicile\.|syntax error|product\."
)
"""Words of our statements; the grammar's own texts are in lower case or are never told again."""


async def _filled(live: RecordsStand) -> None:
    held = (await rows(live.dsns, OWN, live.subject))[0][0]
    if held < 4:
        await rows(live.dsns, "DELETE FROM product.notes WHERE subject_id = $1", live.subject)
        await live.stored(
            *({"rank": n, "body": f"one {n}", "extra": {"n": n, "a": [n]}, "card": "4111"} for n in range(6))
        )


def _leak(request: Request, status: int, text: str, headers: dict[str, str], hidden: list[str]) -> str | None:
    """What is wrong with an answer, or None."""
    if status not in REFUSALS | ANSWERS:
        return f"status {status}"
    told = text + json.dumps(headers)
    if any(one in told and one not in str(request) for one in hidden):
        return "a value that is not the caller's"
    if status in REFUSALS:
        return "SQL" if SQL.search(json.loads(text)["message"] if text else "") else None
    if request.refused:
        return "success where a hidden or sealed column was compared"
    total = headers.get("content-range", "*/*").partition("/")[2]
    if total not in ("*", "") and int(total) > 5000:
        return "a count beyond the caller's rows"
    if text and not isinstance(json.loads(text), list | dict):
        return "no rows"
    return None


@pytest.mark.timeout(3_600 if NUMBER > 10_000 else 120)
async def test_hostile_requests_are_refused_in_words_or_answered_with_ones_own_rows(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    async with records_stand(postgres_server, tmp_path) as live:
        stranger = mint_subject_id()
        await place(live.shard, stranger, 1)
        theirs = await live.stored(
            *(
                {"rank": n, "body": f"another's {n}", "extra": {"n": "another's"}, "card": "another's"}
                for n in range(3)
            ),
            subject=stranger,
            epoch=1,
        )
        await rows(live.dsns, "UPDATE product.notes SET shadow = 'hidden of another' WHERE subject_id = $1", stranger)
        before = await rows(live.dsns, STRANGERS, live.subject)
        hidden = ["another's", "hidden of another", "unseen"]
        grammar = Grammar(SEED, [theirs[0]["id"], stranger, live.subject])
        seen: collections.Counter[int] = collections.Counter()
        wrong: list[str] = []

        async def ask(request: Request) -> None:
            headers = live.headers(**request.who) | request.headers
            if request.body is not None:
                headers["content-type"] = "application/json"
            answer = await live.http.request(
                request.method, f"/records/notes{request.query}", headers=headers, content=request.body
            )
            seen[answer.status_code] += 1
            leak = _leak(request, answer.status_code, answer.text, dict(answer.headers), hidden)
            if leak is not None:
                wrong.append(f"{leak}: {request}\n  → {answer.status_code} {answer.text[:300]}")

        for start in range(0, NUMBER, 400):
            await _filled(live)
            asked = [grammar.request() for _ in range(min(400, NUMBER - start))]

            async def several(part: list[Request]) -> None:
                for request in part:
                    try:
                        await ask(request)
                    except Exception as exc:  # noqa: BLE001 - whatever breaks, the request that did it is told
                        wrong.append(f"{type(exc).__name__} {exc}: {request}")

            async with asyncio.TaskGroup() as group:
                for lane in range(AT_ONCE):
                    group.create_task(several(asked[lane::AT_ONCE]))
            assert not wrong, f"seed {SEED}:\n" + "\n".join(wrong[:20])
        assert await rows(live.dsns, STRANGERS, live.subject) == before
        assert tuple((await rows(live.dsns, OWN, live.subject))[0])[1:] == (0, 0)
        # The grammar is no use if nothing of it is understood.
        assert {200, 201, 204, 400, 403} <= seen.keys(), seen
        assert seen[200] > NUMBER / 20, seen
        print(f"{sum(seen.values())} requests: {dict(sorted(seen.items()))}")
